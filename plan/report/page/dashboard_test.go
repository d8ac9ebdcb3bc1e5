package page_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"carrel/plan/report"
)

// counted are the metrics that package watch counts.
var counted = []string{
	"carrel_syncs_total", "carrel_sync_duration_seconds", "carrel_changes_total", "carrel_change_duration_seconds", "carrel_step_duration_seconds",
	"carrel_apply_lag_seconds", "carrel_restarts_total", "carrel_pulls_total",
}

// TestDashboard checks that the dashboard uses every metric, and none that does
// not exist.
func TestDashboard(t *testing.T) {
	text := readDashboard(t)
	if !json.Valid(text) {
		t.Fatal("the dashboard is not JSON")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector(busy()))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(counted)
	for _, f := range families {
		want = append(want, f.GetName())
	}
	slices.Sort(want)
	series := regexp.MustCompile(`_seconds_(bucket|sum|count)$`)
	var got []string
	for _, name := range regexp.MustCompile(`carrel_[a-z_]+`).FindAllString(string(text), -1) {
		got = append(got, series.ReplaceAllString(name, "_seconds"))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("metrics that the dashboard names (-exist +named):\n%s", diff)
	}
}

// panel is the part of a Grafana panel that the tests check.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  source
	Targets     []struct {
		RefID, Expr string
		Datasource  source
	}
	FieldConfig struct {
		Overrides []struct{ Matcher struct{ ID, Options string } }
	}
}

type source struct{ Type, UID string }

// chosen is the data source that the reader of the dashboard chose.
var chosen = source{"prometheus", "${datasource}"}

// TestDashboardPanels checks that each panel has a query, a place of its own and
// the chosen data source. Grafana reports such errors only to a reader.
func TestDashboardPanels(t *testing.T) {
	var dashboard struct {
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Type string }
		}
		Panels []panel
	}
	if err := json.Unmarshal(readDashboard(t), &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 || dashboard.SchemaVersion < 42 || dashboard.Templating.List[0].Type != "datasource" {
		t.Fatalf("%d panels, schema %d, variables %v", len(dashboard.Panels), dashboard.SchemaVersion, dashboard.Templating.List)
	}
	taken, ids := map[[2]int]string{}, map[int]string{}
	for _, p := range dashboard.Panels {
		if other := ids[p.ID]; other != "" {
			t.Errorf("%s has the id of %s", p.Title, other)
		}
		ids[p.ID] = p.Title
		for i := range p.GridPos.W * p.GridPos.H {
			at := [2]int{p.GridPos.X + i%p.GridPos.W, p.GridPos.Y + i/p.GridPos.W}
			if other := taken[at]; other != "" || at[0] >= 24 {
				t.Fatalf("%s is outside, or on top of %q", p.Title, other)
			}
			taken[at] = p.Title
		}
		if p.Type != "row" {
			checkQueries(t, p)
		}
	}
}

// TestDashboardColoursEveryState checks that the dashboard has a colour for each
// state of a workspace, in the order of package report.
func TestDashboardColoursEveryState(t *testing.T) {
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(readDashboard(t), &dashboard); err != nil {
		t.Fatal(err)
	}
	var got []report.State
	for _, p := range dashboard.Panels {
		if p.Title == "Workspaces by state" {
			for _, o := range p.FieldConfig.Overrides {
				got = append(got, report.State(o.Matcher.Options))
			}
		}
	}
	if diff := cmp.Diff(report.States, got); diff != "" {
		t.Errorf("states with a colour (-want +got):\n%s", diff)
	}
}

func checkQueries(t *testing.T, p panel) {
	t.Helper()
	if len(p.Targets) == 0 || p.Datasource != chosen {
		t.Errorf("%s: %d queries of %v", p.Title, len(p.Targets), p.Datasource)
	}
	for _, q := range p.Targets {
		if q.Expr == "" || q.RefID == "" || q.Datasource != chosen || strings.Count(q.Expr, "(") != strings.Count(q.Expr, ")") {
			t.Errorf("%s: %+v", p.Title, q)
		}
	}
}

func readDashboard(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../../examples/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	return text
}
