package page

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carrel/plan/report"
)

var (
	buildInfo       = prometheus.NewDesc("carrel_build_info", "Always 1; the label is the version of the agent.", []string{"version"}, nil)
	up              = prometheus.NewDesc("carrel_up", "Whether the agent can sync now.", nil, nil)
	lastSync        = prometheus.NewDesc("carrel_last_sync_timestamp_seconds", "When the agent last compared the specs with the host; 0 before the first sync.", nil, nil)
	workspaces      = prometheus.NewDesc("carrel_workspaces", "Workspaces of the host, by their state.", []string{"state"}, nil)
	restarts        = prometheus.NewDesc("carrel_workspace_restarts", "How often the agent restarted a workspace in a row; only those that it did restart.", []string{"workspace"}, nil)
	pending         = prometheus.NewDesc("carrel_pending_changes", "Changes that need approval.", nil, nil)
	specErrors      = prometheus.NewDesc("carrel_errors", "Errors in specs; what they concern is not applied.", nil, nil)
	laterWorkspaces = prometheus.NewDesc("carrel_backoff_workspaces", "Workspaces whose change failed, or was needed too often, and which the agent retries later.", nil, nil)
	laterImages     = prometheus.NewDesc("carrel_backoff_images", "Images whose pull failed, and which the agent retries later.", nil, nil)
)

// Collector is the metrics that follow from what the agent knows.
func Collector(current func() report.Agent) prometheus.Collector { return collector{current} }

type collector struct{ current func() report.Agent }

func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, up, lastSync, workspaces, restarts, pending, specErrors, laterWorkspaces, laterImages} {
		to <- d
	}
}

func (c collector) Collect(to chan<- prometheus.Metric) {
	agent := c.current()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(buildInfo, 1, label(agent.Version))
	gauge(up, one(agent.Trouble == ""))
	gauge(lastSync, seconds(agent.SyncedAt))
	gauge(pending, float64(len(agent.Pending)))
	gauge(specErrors, float64(len(agent.Errors)))
	images := 0
	for _, w := range agent.Waiting {
		if w.Workspace == "" {
			images++
		}
	}
	gauge(laterWorkspaces, float64(len(agent.Waiting)-images))
	gauge(laterImages, float64(images))
	byState, byName := counts(agent.Workspaces)
	for state, n := range byState {
		gauge(workspaces, float64(n), state)
	}
	for name, n := range byName {
		gauge(restarts, float64(n), name)
	}
}

// counts are how many workspaces are in each state, and the restarts of those
// that have any. Maps, because a series that is given twice spoils the answer.
func counts(all []report.Status) (byState, restarts map[string]int) {
	byState, restarts = map[string]int{}, map[string]int{}
	for _, state := range report.States {
		byState[string(state)] = 0
	}
	for _, s := range all {
		byState[label(string(s.State))]++
		if s.Restarts > 0 {
			restarts[label(s.Workspace)] += s.Restarts
		}
	}
	return byState, restarts
}

// label is a word as the value of a label, which has to be UTF-8.
func label(word string) string { return strings.ToValidUTF8(word, "\uFFFD") }

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixNano()) / 1e9
}
