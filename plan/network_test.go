package plan_test

import (
	"strings"
	"testing"

	"carrel/plan/state"
)

func TestNewNameserversOfTheHost(t *testing.T) {
	s := inOrder()
	s.network()
	s.now.Networks[0].Stale = "/etc/resolv.conf of the host has changed"
	s.now.CNI, s.now.DNS = "a bridge", []string{"left out"}
	want := `Plan for set s on host h: 1 to repair, 0 unchanged.

  ~ bot: repair (in place, no restart)
      because: /etc/resolv.conf of the host has changed
      1. attach network of bot
      2. record bot

note: left out
note: networks: a bridge
`
	if got := s.text(); got != want {
		t.Errorf("plan:\n%s", got)
	}
}

func TestWhatNetworksLeft(t *testing.T) {
	s := inOrder()
	s.now.Left = []state.Leftover{
		{Workspace: "bot", Set: "s", Network: "x", What: "address 10.0.0.2"},
		{Workspace: "gone", Set: "s", Network: "x", What: "address 10.0.0.3"},
		{Workspace: "late", Set: "s", Network: "y", What: "address 10.0.0.4", File: "/left/late.y.json", Blocked: "no plugin"},
		{Workspace: "others", Set: "t", Network: "x", What: "address 10.0.0.5"},
	}
	got := s.text()
	for _, want := range []string{
		"~ bot: clean\n      because: an earlier network left something, which may be removed now\n      1. clean up after networks of bot\n",
		"~ gone: clean\n",
		"note: address 10.0.0.4 of network y may be left of late: no plugin (mend that, and the next apply removes it; or remove it yourself, and then /left/late.y.json)\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("plan:\n%s\nhas no %s", got, want)
		}
	}
	if strings.Contains(got, "others") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestFilesOfTheHostThatAreReplaced(t *testing.T) {
	s := inOrder()
	s.now.Instances[0].Outdated = "/etc/resolv.conf"
	want := "note: bot has /etc/resolv.conf as it was when it started, and the host has replaced it since (carrel restart bot)\n"
	if got := s.text(); !strings.Contains(got, want) {
		t.Errorf("plan:\n%s", got)
	}
}
