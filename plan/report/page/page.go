package page

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"carrel/plan/report"
	"carrel/plan/state"
)

var pageTemplate = template.Must(template.ParseFS(files, "page.html"))

// The page limits what it shows at once.
const (
	maxHealthy  = 200 // with more healthy workspaces than this, they are folded
	maxRecent   = 50  // changes; carrel history lists all of them
	digestShown = 12  // hexadecimal digits of an image's digest
)

func (c Config) page(w http.ResponseWriter, _ *http.Request) {
	var text bytes.Buffer // so that an error leaves no half of a page
	if err := pageTemplate.Execute(&text, newPage(c.Report(), c.Alive(), c.Now())); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(text.Bytes()) // an error means that the client has disconnected
}

// page is the data of the template: the report of the agent, and what follows
// from it.
type page struct {
	report.Agent
	Alive bool      // whether the loop of the agent runs
	Now   time.Time // for times relative to now

	Unhealthy, Healthy []row // the workspaces, each list by name
	Older              int   // how many changes are left out of Recent
}

func newPage(agent report.Agent, alive bool, now time.Time) page {
	p := page{Agent: agent, Alive: alive, Now: now}
	if over := len(p.Recent) - maxRecent; over > 0 {
		p.Recent, p.Older = p.Recent[:maxRecent], over
	}
	pending, retries := p.unfinished()
	sorted := slices.SortedStableFunc(slices.Values(p.Workspaces), func(a, b report.Status) int {
		return cmp.Compare(a.Workspace, b.Workspace)
	})
	for _, s := range sorted {
		r := row{Status: s, Pending: pending[s.Workspace], Working: slices.Contains(p.Working, s.Workspace), now: now}
		r.NextRetry = cmp.Or(r.NextRetry, retries[s.Workspace])
		if s.Set != p.Set {
			r.Foreign = s.Set
		}
		if r.Unhealthy() {
			p.Unhealthy = append(p.Unhealthy, r)
		} else {
			p.Healthy = append(p.Healthy, r)
		}
	}
	return p
}

// unfinished is, by workspace, whether a change needs approval and when the
// agent retries.
func (p page) unfinished() (pending map[string]bool, retries map[string]*time.Time) {
	pending, retries = map[string]bool{}, map[string]*time.Time{}
	for _, change := range p.Pending {
		pending[change.Workspace] = true
	}
	for _, w := range p.Waiting {
		retries[w.Workspace] = &w.Until
	}
	return pending, retries
}

// PendingGroups are the changes that need approval, those of one reason together.
func (p page) PendingGroups() []state.Group { return state.Grouped(p.Pending) }

// table is the data of the template "workspaces".
type table struct {
	Rows    []row
	Caption string
}

// Table makes one value of two: a template takes only one.
func (page) Table(rows []row, caption string) table { return table{rows, caption} }

// Rows are all workspaces, the unhealthy ones first.
func (p page) Rows() []row { return slices.Concat(p.Unhealthy, p.Healthy) }

// Fold reports whether there are too many healthy workspaces to show at once.
func (p page) Fold() bool { return len(p.Healthy) > maxHealthy }

// summary is the state of the agent in one line.
type summary struct {
	Kind string // the CSS class: good, busy, warn or bad
	Mark string // a character that says the same without colour
	Line string
}

// Summary is the first line that applies, from the worst state to the best.
func (p page) Summary() summary {
	switch {
	case !p.Alive:
		return summary{"bad", "✕", "The agent is stuck."}
	case p.Trouble != "":
		return summary{"bad", "✕", "The agent cannot sync."}
	case p.SyncedAt.IsZero():
		return summary{"busy", "…", "The agent has not synced yet."}
	case len(p.Pending) > 0 && len(p.Errors) > 0:
		return summary{"warn", "!", "Changes need approval, and specs have errors."}
	case len(p.Pending) > 0:
		return summary{"warn", "!", "Changes need approval."}
	case len(p.Errors) > 0:
		return summary{"warn", "!", "Specs have errors."}
	case len(p.Unhealthy) > 0:
		return summary{"warn", "!", "Some workspaces need attention."}
	case len(p.Waiting) > 0:
		return summary{"warn", "!", "Something failed. The agent will retry."}
	case len(p.Working) > 0:
		return summary{"busy", "…", "The agent is applying changes."}
	}
	return summary{"good", "✓", "All workspaces match their specs."}
}

// Counts is how many workspaces are in each state, the largest number first.
func (p page) Counts() string {
	return several(len(p.Workspaces), "workspace", "workspaces") + ": " + counted(p.Rows()) + "."
}

// HealthyCounts is the same for the folded workspaces.
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
