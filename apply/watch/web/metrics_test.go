package web_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"carrel/apply/watch/web"
	"carrel/plan"
)

func collector(r plan.Report) prometheus.Collector {
	return web.Collector(func() plan.Report { return r })
}

func TestMetrics(t *testing.T) {
	answer := ask(serving(busy()), "GET", "/metrics")
	var got []string
	for line := range strings.Lines(answer.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`carrel_backoff_images 1`,
		`carrel_backoff_workspaces 1`,
		`carrel_build_info{version="v1.4.0"} 1`,
		`carrel_faults 1`,
		`carrel_last_look_timestamp_seconds 1.772625598e+09`,
		`carrel_pending_changes 1`,
		`carrel_up 1`,
		`carrel_workspace_restarts{workspace="bot-7"} 5`,
		`carrel_workspaces{state="failed"} 0`,
		`carrel_workspaces{state="held"} 1`,
		`carrel_workspaces{state="missing"} 0`,
		`carrel_workspaces{state="orphan"} 1`,
		`carrel_workspaces{state="running"} 2`,
		`carrel_workspaces{state="stopped"} 2`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestMetricsOfAnAgentInTrouble(t *testing.T) {
	r := calm()
	r.Trouble, r.LookedAt = "containerd does not answer", time.Time{}
	err := testutil.CollectAndCompare(collector(r), strings.NewReader(`
# HELP carrel_last_look_timestamp_seconds When the agent last compared the specs with the host; 0 when it could not yet.
# TYPE carrel_last_look_timestamp_seconds gauge
carrel_last_look_timestamp_seconds 0
# HELP carrel_up Whether the agent can look and change things now.
# TYPE carrel_up gauge
carrel_up 0
`), "carrel_up", "carrel_last_look_timestamp_seconds")
	if err != nil {
		t.Error(err)
	}
}

// TestMetricsOfAnything: one name that cannot be a label, or that is there
// twice, must not take all metrics away.
func TestMetricsOfAnything(t *testing.T) {
	r := calm()
	r.Version = "\xff"
	r.Workspaces = []plan.Status{{Workspace: "a\xff", State: "\xfe", Restarts: 1}, {Workspace: "a\xfe", State: "\xff", Restarts: 2}, {}}
	err := testutil.CollectAndCompare(collector(r), strings.NewReader(`
# HELP carrel_workspace_restarts How often the agent restarted a workspace in a row; only those that it did restart.
# TYPE carrel_workspace_restarts gauge
carrel_workspace_restarts{workspace="a�"} 3
`), "carrel_workspace_restarts")
	if err != nil {
		t.Error(err)
	}
}

func TestMetricNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector(busy()))
	faults, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Errorf("%s: %s", f.Metric, f.Text)
	}
}

// counted are the metrics that the agent counts itself, elsewhere.
var counted = []string{
	"carrel_rounds_total", "carrel_round_duration_seconds", "carrel_changes_total", "carrel_change_duration_seconds", "carrel_step_duration_seconds",
	"carrel_apply_lag_seconds", "carrel_restarts_total", "carrel_pulls_total",
}

// TestDashboard checks that the dashboard is about metrics that there are, and
// that it is about all of them.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../../examples/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Fatal("the dashboard is no JSON")
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
		t.Errorf("metrics that the dashboard names (-there are +it names):\n%s", diff)
	}
}

// TestDashboardPanels checks what Grafana only says when someone looks: a panel
// without a place or a query, or on top of another one, and a fixed source.
func TestDashboardPanels(t *testing.T) {
	type place struct{ X, Y, W, H int }
	type source struct{ Type, UID string }
	var dashboard struct {
		SchemaVersion int
		Templating    struct {
			List []struct{ Name, Type string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			GridPos     place
			Datasource  source
			Targets     []struct {
				RefID, Expr string
				Datasource  source
			}
		}
	}
	text, err := os.ReadFile("../../../examples/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
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
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%s is outside, or on top of %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: %d queries of %s", p.Title, len(p.Targets), p.Datasource.UID)
		}
		for _, q := range p.Targets {
			if q.Expr == "" || q.RefID == "" || q.Datasource.UID != "${datasource}" || strings.Count(q.Expr, "(") != strings.Count(q.Expr, ")") {
				t.Errorf("%s: %+v", p.Title, q)
			}
		}
	}
}
