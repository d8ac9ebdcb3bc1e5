package cni_test

import (
	"slices"
	"testing"
	"time"

	"carrel/spec"
)

// The first of the bridge, which makes it and its rules, is not counted.
func BenchmarkAttachAndDetach(b *testing.B) {
	for name, ports := range map[string][]spec.Port{
		"plain": nil,
		"port":  {{Host: freePort(b), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}},
	} {
		b.Run(name, func(b *testing.B) {
			h := newHost(b, nil)
			h.attach("first")
			var attaches, detaches []time.Duration
			for b.Loop() {
				start := time.Now()
				h.must(h.AttachNetwork(b.Context(), attach("bot", ports...)))
				attached := time.Now()
				h.detach("bot")
				attaches = append(attaches, attached.Sub(start))
				detaches = append(detaches, time.Since(attached))
			}
			b.ReportMetric(median(attaches), "attach-ms")
			b.ReportMetric(median(detaches), "detach-ms")
		})
	}
}

func median(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}
