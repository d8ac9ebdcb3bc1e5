// Package web shows what an agent knows.
package web

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carrel/plan"
)

type Config struct {
	Report   func() plan.Report
	Alive    func() bool
	Metrics  prometheus.Gatherer
	Loopback bool
	Now      func() time.Time
}

func Handler(c Config) http.Handler { return http.NotFoundHandler() }

func Collector(report func() plan.Report) prometheus.Collector { return prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"}) }
