package page

import (
	"strings"
	"time"

	"carrel/plan/report"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	buildInfo       = prometheus.NewDesc("carrel_build_info", "Always 1; the label is the version of the agent.", []string{"version"}, nil)
	up              = prometheus.NewDesc("carrel_up", "Whether the agent can look and change things now.", nil, nil)
	lastLook        = prometheus.NewDesc("carrel_last_look_timestamp_seconds", "When the agent last compared the specs with the host; 0 when it could not yet.", nil, nil)
	workspaces      = prometheus.NewDesc("carrel_workspaces", "Workspaces of the host, by their state.", []string{"state"}, nil)
	restarts        = prometheus.NewDesc("carrel_workspace_restarts", "How often the agent restarted a workspace in a row; only those that it did restart.", []string{"workspace"}, nil)
	pending         = prometheus.NewDesc("carrel_pending_changes", "Changes that wait for a person.", nil, nil)
	faults          = prometheus.NewDesc("carrel_faults", "Faults of specs that are not applied because of them.", nil, nil)
	laterWorkspaces = prometheus.NewDesc("carrel_backoff_workspaces", "Workspaces whose change failed, or had to be done again too often, and is tried again later.", nil, nil)
	laterImages     = prometheus.NewDesc("carrel_backoff_images", "Images whose fetching failed and is tried again later.", nil, nil)
)

// Collector is the metrics that follow from what the agent knows.
func Collector(current func() report.Agent) prometheus.Collector { return collector{current} }

type collector struct{ current func() report.Agent }

func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, up, lastLook, workspaces, restarts, pending, faults, laterWorkspaces, laterImages} {
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
	gauge(lastLook, seconds(agent.SyncedAt))
	gauge(pending, float64(len(agent.Pending)))
	gauge(faults, float64(len(agent.Errors)))
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
