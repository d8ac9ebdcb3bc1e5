package watch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carrel/apply"
	"carrel/plan"
)

// The results of syncs, changes and pulls.
const (
	done      = "done"
	unchanged = "unchanged"
	failed    = "failed"
)

// Metrics count what an agent does. What is true now follows from its report
// (package page). A nil *Metrics counts nothing.
type Metrics struct {
	syncs    *prometheus.CounterVec
	syncing  prometheus.Histogram
	changes  *prometheus.CounterVec
	changing *prometheus.HistogramVec
	steps    *prometheus.HistogramVec
	lag      prometheus.Histogram
	restarts prometheus.Counter
	pulls    *prometheus.CounterVec
}

// seconds are the histogram buckets for durations from milliseconds to minutes.
var seconds = prometheus.ExponentialBuckets(0.005, 2.5, 13)

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carrel_syncs_total", Help: "Syncs by result: done, unchanged (there was nothing to do) or failed."}, []string{"result"}),
		syncing: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carrel_sync_duration_seconds", Help: "How long syncs took, from the observation to the end of the last change.", Buckets: seconds}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carrel_changes_total", Help: "Changes of workspaces by action and result (done or failed)."}, []string{"action", "result"}),
		changing: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carrel_change_duration_seconds", Help: "How long changes of workspaces took, by action.", Buckets: seconds}, []string{"action"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carrel_step_duration_seconds", Help: "How long steps took, by kind.", Buckets: seconds}, []string{"step"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carrel_apply_lag_seconds", Help: "From the first change of a file to the end of the changes that followed.", Buckets: seconds}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carrel_restarts_total", Help: "Tasks that were restarted because they did not run."}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carrel_pulls_total", Help: "Pulls of images by result (done or failed)."}, []string{"result"}),
	}
	r.MustRegister(m.syncs, m.syncing, m.changes, m.changing, m.steps, m.lag, m.restarts, m.pulls)
	for _, result := range []string{done, unchanged, failed} {
		m.syncs.WithLabelValues(result)
	}
	for _, result := range []string{done, failed} {
		m.pulls.WithLabelValues(result)
	}
	return m
}

func (m *Metrics) sync(result string, took time.Duration) {
	if m == nil {
		return
	}
	m.syncs.WithLabelValues(result).Inc()
	m.syncing.Observe(took.Seconds())
}

func (m *Metrics) change(c plan.Change, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.changes.WithLabelValues(string(c.Action), resultOf(err)).Inc()
	m.changing.WithLabelValues(string(c.Action)).Observe(took.Seconds())
	if err == nil && restarts(c) {
		m.restarts.Inc()
	}
}

func (m *Metrics) step(e apply.Event) {
	if m == nil || e.Kind != apply.Done && e.Kind != apply.Failed {
		return
	}
	m.steps.WithLabelValues(plan.StepName(e.Step)).Observe(e.Took.Seconds())
}

func (m *Metrics) applied(lag time.Duration) {
	if m != nil {
		m.lag.Observe(lag.Seconds())
	}
}

func (m *Metrics) pull(err error) {
	if m != nil {
		m.pulls.WithLabelValues(resultOf(err)).Inc()
	}
}

func resultOf(err error) string {
	if err != nil {
		return failed
	}
	return done
}
