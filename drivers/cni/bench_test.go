package cni_test

import (
	"testing"

	"carrel/spec"
)

func BenchmarkAttachAndDetach(b *testing.B) {
	for name, ports := range map[string][]spec.Port{
		"plain": nil,
		"port":  {{Host: 18099, Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}},
	} {
		b.Run(name, func(b *testing.B) {
			h := newHost(b, nil)
			h.attach("first") // makes the bridge and the rules
			for b.Loop() {
				h.must(h.AttachNetwork(b.Context(), attach("bot", ports...)))
				h.detach("bot")
			}
		})
	}
}
