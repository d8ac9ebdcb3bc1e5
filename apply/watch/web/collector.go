package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"carrel/plan"
)

// The metrics of what is true now.
var (
	buildInfo  = describe("carrel_build_info", "The version of the agent; always 1.", "version")
	up         = describe("carrel_up", "Whether the agent can look at the host and change it.")
	lookedAt   = describe("carrel_last_look_timestamp_seconds", "When the agent last compared the specs with the host.")
	workspaces = describe("carrel_workspaces", "Workspaces by state.", "state")
	pending    = describe("carrel_pending_changes", "Changes that are left to a person.")
	faults     = describe("carrel_faults", "Faults of specs and of what they ask for.")
	backoff    = describe("carrel_backoff_workspaces", "Workspaces that are tried again later.")
	images     = describe("carrel_backoff_images", "Images that are fetched again later.")
	restarts   = describe("carrel_workspace_restarts", "How often a workspace was started again in a row.", "workspace")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Collector gives the metrics that a report has.
func Collector(report func() plan.Report) prometheus.Collector { return collector(report) }

type collector func() plan.Report

// Describe says which metrics there are.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, up, lookedAt, workspaces, pending, faults, backoff, images, restarts} {
		descs <- d
	}
}

// Collect gives their values.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	r := c()
	gauge(buildInfo, 1, r.Version)
	if r.Trouble == "" && !r.LookedAt.IsZero() {
		gauge(up, 1)
	} else {
		gauge(up, 0)
	}
	if !r.LookedAt.IsZero() {
		gauge(lookedAt, float64(r.LookedAt.UnixMilli())/1000)
	}
	states := map[string]int{"running": 0}
	for _, w := range r.Workspaces {
		states[w.State]++
		if w.Restarts > 0 {
			gauge(restarts, float64(w.Restarts), w.Workspace)
		}
	}
	for state, n := range states {
		gauge(workspaces, float64(n), state)
	}
	gauge(pending, float64(len(r.Pending)))
	gauge(faults, float64(len(r.Faults)))
	waiting := 0
	for _, w := range r.Waiting {
		if w.Image != "" {
			waiting++
		}
	}
	gauge(images, float64(waiting))
	gauge(backoff, float64(len(r.Waiting)-waiting))
}
