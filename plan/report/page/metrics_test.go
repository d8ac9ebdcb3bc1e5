package page_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"carrel/plan/report"
	"carrel/plan/report/page"
)

func collector(r report.Agent) prometheus.Collector {
	return page.Collector(func() report.Agent { return r })
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
		`carrel_errors 1`,
		`carrel_last_sync_timestamp_seconds 1.772625598e+09`,
		`carrel_pending_changes 1`,
		`carrel_up 1`,
		`carrel_workspace_restarts{workspace="bot-7"} 5`,
		`carrel_workspaces{state="blocked"} 0`,
		`carrel_workspaces{state="created"} 0`,
		`carrel_workspaces{state="deleted"} 0`,
		`carrel_workspaces{state="failed"} 0`,
		`carrel_workspaces{state="missing"} 0`,
		`carrel_workspaces{state="new"} 0`,
		`carrel_workspaces{state="not observed"} 0`,
		`carrel_workspaces{state="orphan"} 1`,
		`carrel_workspaces{state="paused"} 0`,
		`carrel_workspaces{state="running"} 2`,
		`carrel_workspaces{state="stopped"} 2`,
		`carrel_workspaces{state="stopped by user"} 1`,
		`carrel_workspaces{state="unknown"} 0`,
		`carrel_workspaces{state="waiting"} 0`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestMetricsOfAnAgentInTrouble(t *testing.T) {
	r := calm()
	r.Trouble, r.SyncedAt = "containerd does not answer", time.Time{}
	err := testutil.CollectAndCompare(collector(r), strings.NewReader(`
# HELP carrel_last_sync_timestamp_seconds When the agent last compared the specs with the host; 0 before the first sync.
# TYPE carrel_last_sync_timestamp_seconds gauge
carrel_last_sync_timestamp_seconds 0
# HELP carrel_up Whether the agent can sync now.
# TYPE carrel_up gauge
carrel_up 0
`), "carrel_up", "carrel_last_sync_timestamp_seconds")
	if err != nil {
		t.Error(err)
	}
}

// TestMetricsOfAnything: one name that cannot be a label, or that is there
// twice, must not take all metrics away.
func TestMetricsOfAnything(t *testing.T) {
	r := calm()
	r.Version = "\xff"
	r.Workspaces = []report.Status{{Workspace: "a\xff", State: "\xfe", Restarts: 1}, {Workspace: "a\xfe", State: "\xff", Restarts: 2}, {}}
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
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range problems {
		t.Errorf("%s: %s", f.Metric, f.Text)
	}
}
