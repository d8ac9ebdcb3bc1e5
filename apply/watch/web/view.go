package web

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"carrel/plan"
)

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"image": image, "exact": exact, "took": func(d time.Duration) string { return d.Round(time.Millisecond).String() },
}).ParseFS(assets, "page.html"))

// view is a report as the page shows it.
type view struct {
	plan.Report
	now time.Time

	Troubled []row // workspaces that are not as they should be
	Calm     []row // the others
	Running  int
	Collapse bool // there are too many calm ones to show at once
}

// row is one workspace.
type row struct {
	plan.Status
	Mood  string // for the eye: good, idle or bad
	State string
}

// mostCalm is how many workspaces that need no attention are shown at once.
const mostCalm = 200

func viewOf(r plan.Report, now time.Time) view {
	v := view{Report: r, now: now}
	for _, s := range r.Workspaces {
		one := rowOf(s)
		if s.Running {
			v.Running++
		}
		if one.Mood == "bad" {
			v.Troubled = append(v.Troubled, one)
		} else {
			v.Calm = append(v.Calm, one)
		}
	}
	byName := func(a, b row) int { return cmp.Compare(a.Workspace, b.Workspace) }
	slices.SortFunc(v.Troubled, byName)
	slices.SortFunc(v.Calm, byName)
	v.Collapse = len(v.Calm) > mostCalm
	return v
}

func rowOf(s plan.Status) row {
	one := row{Status: s, State: s.State, Mood: "idle"}
	if s.ExitCode != nil && !s.Held {
		one.State = fmt.Sprintf("exited %d", *s.ExitCode)
	}
	if s.OOMKills > 0 {
		one.State += ", out of memory"
	}
	switch {
	case s.LastError != "" || s.NextTry != nil || s.State == "failed" || s.State == "missing" || s.State == "orphan" || s.State == "unknown":
		one.Mood = "bad"
	case s.Running:
		one.Mood = "good"
	}
	return one
}

// Ago is a time that has passed, Ahead one that will, in the words of a person.
func (v view) Ago(t time.Time) string   { return plan.Since(v.now.Sub(t)) + " ago" }
func (v view) Ahead(t time.Time) string { return plan.When(t, v.now) }
func (v view) Since(t time.Time) string { return plan.Since(v.now.Sub(t)) }

// Quiet reports whether there is nothing that a person has to know.
func (v view) Quiet() bool {
	return v.Trouble == "" && len(v.Troubled)+len(v.Pending)+len(v.Waiting)+len(v.Faults)+len(v.Working) == 0 && !v.LookedAt.IsZero()
}

// Parts are the lists of the page, one below the other.
func (v view) Parts() []part {
	return []part{{v, "Need attention", v.Troubled, false}, {v, "Workspaces", v.Calm, v.Collapse}}
}

// part is one list of workspaces.
type part struct {
	View     view
	Title    string
	Rows     []row
	Collapse bool
}

func exact(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// image is an image as a person reads it: without the usual registry, and with
// the beginning of its digest.
func image(s plan.Status) string {
	name := s.Image
	if archive, ok := strings.CutPrefix(name, "oci-archive:"); ok {
		name = archive[strings.LastIndexByte(archive, '/')+1:]
	}
	name = strings.TrimPrefix(name, "docker.io/library/")
	if _, hex, ok := strings.Cut(s.Digest, ":"); ok && !strings.Contains(name, "@") {
		name += "@" + hex[:min(12, len(hex))]
	}
	return name
}
