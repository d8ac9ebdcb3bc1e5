package watch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carrel/apply"
	"carrel/plan"
)

// The results of rounds, changes and pulls.
const (
	done      = "done"
	unchanged = "unchanged"
	failed    = "failed"
)

// Metrics count what an agent does. What is true now is told by its report. A
// nil *Metrics counts nothing.
type Metrics struct {
	rounds   *prometheus.CounterVec
	took     prometheus.Histogram
	changes  *prometheus.CounterVec
	changing *prometheus.HistogramVec
	steps    *prometheus.HistogramVec
	lag      prometheus.Histogram
	restarts prometheus.Counter
	pulls    *prometheus.CounterVec
}

// seconds are the buckets of what takes from milliseconds to minutes.
var seconds = prometheus.ExponentialBuckets(0.005, 2.5, 13)

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carrel_rounds_total", Help: "Rounds by result: done, unchanged (there was nothing to do) or failed."}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carrel_round_duration_seconds", Help: "How long rounds took, from the look to the end of the last change.", Buckets: seconds}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carrel_changes_total", Help: "Changes of workspaces by action and result (done or failed)."}, []string{"action", "result"}),
		changing: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carrel_change_duration_seconds", Help: "How long changes of workspaces took, by action.", Buckets: seconds}, []string{"action"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "carrel_step_duration_seconds", Help: "How long steps took, by kind.", Buckets: seconds}, []string{"step"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carrel_apply_lag_seconds", Help: "From the first change of a file to the end of what it led to.", Buckets: seconds}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "carrel_restarts_total", Help: "Tasks that were started again because they did not run."}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carrel_pulls_total", Help: "Fetches of images by result (done or failed)."}, []string{"result"}),
	}
	r.MustRegister(m.rounds, m.took, m.changes, m.changing, m.steps, m.lag, m.restarts, m.pulls)
	for _, result := range []string{done, unchanged, failed} {
		m.rounds.WithLabelValues(result)
	}
	for _, result := range []string{done, failed} {
		m.pulls.WithLabelValues(result)
	}
	return m
}

func (m *Metrics) round(result string, took time.Duration) {
	if m == nil {
		return
	}
	m.rounds.WithLabelValues(result).Inc()
	m.took.Observe(took.Seconds())
}

func (m *Metrics) change(c plan.Change, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.changes.WithLabelValues(string(c.Action), resultOf(err)).Inc()
	m.changing.WithLabelValues(string(c.Action)).Observe(took.Seconds())
	if err == nil && mends(c) {
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
