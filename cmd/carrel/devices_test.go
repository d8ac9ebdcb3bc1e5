package main

import (
	"testing"
	"time"
)

// TestMayAppear checks when apply waits for CDI files: only when somebody may still
// write them.
func TestMayAppear(t *testing.T) {
	for _, test := range []struct {
		name    string
		devices []string
		uptime  time.Duration
		tools   string
		want    bool
	}{
		{"no device", nil, time.Minute, "nvidia-ctk", false},
		{"at boot", []string{"nvidia.com/gpu=0"}, time.Minute, "nvidia-ctk", true},
		{"no tool", []string{"nvidia.com/gpu=0"}, time.Minute, "", false},
		{"a vendor whose tool is not known", []string{"nvidia.com/gpu=0", "vendor.example/gpu=0"}, time.Minute, "", true},
		{"long after the boot", []string{"nvidia.com/gpu=0"}, time.Hour, "nvidia-ctk", false},
	} {
		installed := func(program string) bool { return program == test.tools }
		if got := mayAppear(test.devices, test.uptime, installed); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}
