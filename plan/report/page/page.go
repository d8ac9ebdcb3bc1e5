package page

import (
	"bytes"
	"carrel/plan/report"
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

var pageTemplate = template.Must(template.ParseFS(files, "page.html"))

// How much a person can take in.
const (
	manyHealthy = 200 // workspaces as they should be, which are folded when there are more
	manyRecent  = 50  // changes: carrel history tells of the others
	digestShown = 12
)

func (c Config) page(w http.ResponseWriter, _ *http.Request) {
	var text bytes.Buffer // whole, or not at all
	if err := pageTemplate.Execute(&text, newPage(c.Report(), c.Alive(), c.Now())); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(text.Bytes()) // an error only says that the one who asked is gone
}

// page is what the template is given: the report, and what people ask of it.
type page struct {
	report.Agent
	Alive bool
	Now   time.Time

	Troubled, Healthy []row // each by name
	Older             int   // changes that are not among Recent
}

func newPage(agent report.Agent, alive bool, now time.Time) page {
	p := page{Agent: agent, Alive: alive, Now: now}
	if over := len(p.Recent) - manyRecent; over > 0 {
		p.Recent, p.Older = p.Recent[:manyRecent], over
	}
	pending, next := p.open()
	sorted := slices.SortedStableFunc(slices.Values(p.Workspaces), func(a, b report.Status) int {
		return cmp.Compare(a.Workspace, b.Workspace)
	})
	for _, s := range sorted {
		r := row{Status: s, Pending: pending[s.Workspace], Working: slices.Contains(p.Working, s.Workspace), now: now}
		r.NextRetry = cmp.Or(r.NextRetry, next[s.Workspace])
		if s.Set != p.Set {
			r.Foreign = s.Set
		}
		if r.Trouble() {
			p.Troubled = append(p.Troubled, r)
		} else {
			p.Healthy = append(p.Healthy, r)
		}
	}
	return p
}

// open is, by workspace, what is still to do: whether a person has to, and
// when the agent tries again.
func (p page) open() (pending map[string]bool, next map[string]*time.Time) {
	pending, next = map[string]bool{}, map[string]*time.Time{}
	for _, change := range p.Pending {
		pending[change.Workspace] = true
	}
	for _, w := range p.Waiting {
		next[w.Workspace] = &w.Until
	}
	return pending, next
}

// table is workspaces, and what they have in common.
type table struct {
	Rows    []row
	Caption string
}

// Table is for the template, which can give one value to another one.
func (page) Table(rows []row, caption string) table { return table{rows, caption} }

// Rows are all workspaces, the troubled first.
func (p page) Rows() []row { return slices.Concat(p.Troubled, p.Healthy) }

// Fold reports whether there are too many healthy ones to show at once.
func (p page) Fold() bool { return len(p.Healthy) > manyHealthy }

// verdict is the page in one line.
type verdict struct {
	Kind string // how it looks: good, busy, warn or bad
	Mark string // the same without colour
	Line string
}

// Verdict is the first that applies, the worst before the others.
func (p page) Verdict() verdict {
	switch {
	case !p.Alive:
		return verdict{"bad", "✕", "The agent is stuck."}
	case p.Trouble != "":
		return verdict{"bad", "✕", "The agent cannot do its work now."}
	case p.SyncedAt.IsZero():
		return verdict{"busy", "…", "The agent has not looked yet."}
	case len(p.Pending)+len(p.Errors) > 0:
		return verdict{"warn", "!", "Something needs a person."}
	case len(p.Troubled) > 0:
		return verdict{"warn", "!", "Not every workspace is as it should be."}
	case len(p.Waiting) > 0:
		return verdict{"warn", "!", "Something failed, and is tried again."}
	case len(p.Working) > 0:
		return verdict{"busy", "…", "The agent is at work."}
	}
	return verdict{"good", "✓", "Everything is as the specs say."}
}

// Counts are how many workspaces there are of each state, most first.
func (p page) Counts() string {
	return several(len(p.Workspaces), "workspace", "workspaces") + ": " + counted(p.Rows()) + "."
}

// HealthyCounts are those of the workspaces that are folded.
func (p page) HealthyCounts() string { return counted(p.Healthy) }

func counted(rows []row) string {
	byState := map[report.State]int{}
	for _, r := range rows {
		byState[r.State]++
	}
	var words []string
	for _, state := range slices.SortedFunc(maps.Keys(byState), func(a, b report.State) int {
		return cmp.Or(cmp.Compare(byState[b], byState[a]), cmp.Compare(a, b))
	}) {
		words = append(words, fmt.Sprintf("%d %s", byState[state], state))
	}
	return strings.Join(words, ", ")
}
