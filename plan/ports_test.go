package plan_test

import (
	"strings"
	"testing"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

var web = spec.Port{Host: 8080, Container: 80, Protocol: "tcp"}

// joined adds a workspace that publishes ports, or is to.
func (s *scene) joined(name string, desired bool, had, wants []spec.Port) {
	w := wanted(name)
	w.Network = spec.Network{Mode: spec.NetworkCNI, Ports: had}
	kept := w
	if had != nil {
		s.now.Records = append(s.now.Records, state.Record{Workspace: name, Set: "s", Host: "h", Source: w.Source, Container: name, Applied: &kept, Version: 1})
		s.now.Instances = append(s.now.Instances, state.Instance{
			ID: name, Workspace: name, Set: "s", Host: "h", Applied: &kept, Volume: "/volumes/" + name,
			Image: "docker.io/library/bot@sha256:1", Digest: "sha256:1", Task: state.Task{Status: state.TaskRunning, PID: 7, Netns: 9},
		})
		s.now.Volumes = append(s.now.Volumes, state.Volume{Workspace: name, Path: "/volumes/" + name})
		s.now.Networks = append(s.now.Networks, state.Attachment{Workspace: name, Set: "s", Ports: had, Netns: 9})
	}
	if desired {
		w.Network.Ports = wants
		s.want.Workspaces = append(s.want.Workspaces, w)
	}
}

func TestPortsThatSomethingElseHas(t *testing.T) {
	local := spec.Port{Host: 8080, Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	other := spec.Port{Host: 8080, Container: 80, Protocol: "tcp", HostIP: "127.0.0.2"}
	for name, test := range map[string]struct {
		change func(s *scene)
		want   string // in the plan
	}{
		"a process": {func(s *scene) {
			s.joined("b", true, nil, []spec.Port{web})
			s.now.Taken = []state.TakenPort{{Port: spec.Port{Host: 8080, Protocol: "tcp"}, By: "process 7 (nginx) listens there"}}
		}, "error: /specs/b.yaml: port 8080/tcp is taken on this host: process 7 (nginx) listens there (choose another port, or stop that)\n"},
		"a process of another address": {func(s *scene) {
			s.joined("b", true, nil, []spec.Port{other})
			s.now.Taken = []state.TakenPort{{Port: local, By: "process 7 (nginx) listens there"}}
		}, "attach network of b"},
		"its own process, in network mode host": {func(s *scene) {
			s.network(web)
			s.now.Networks, s.now.Instances[0].Applied = nil, s.now.Records[0].Applied
			s.now.Taken = []state.TakenPort{{Port: web, By: "process 7 (bot) listens there", Container: "bot"}}
		}, "attach network of bot with ports :8080->80/tcp"},
		"one whose file is not loaded": {func(s *scene) {
			s.joined("a", false, []spec.Port{web}, nil)
			s.now.Records[1].Source = "/other/a.yaml"
			s.joined("b", true, nil, []spec.Port{local})
		}, "error: /specs/b.yaml: port 127.0.0.1:8080/tcp is taken on this host: workspace a publishes it (choose another port, or stop that)\n"},
		"one that gives it up": {func(s *scene) {
			s.joined("c", true, []spec.Port{web}, nil)
			s.joined("b", true, nil, []spec.Port{local})
		}, "because: a port that it publishes is free when c has changed\n"},
		"one that is deleted": {func(s *scene) {
			s.joined("c", false, []spec.Port{web}, nil)
			s.joined("b", true, nil, []spec.Port{local})
		}, "because: a port that it publishes is free when c has changed\n"},
		"one that may not give it up": {func(s *scene) {
			s.joined("c", true, []spec.Port{web}, []spec.Port{{Host: 81, Container: 80, Protocol: "tcp"}})
			s.joined("b", true, nil, []spec.Port{local})
			s.now.Taken = []state.TakenPort{{Port: spec.Port{Host: 81, Protocol: "tcp"}, By: "process 7 (nginx) listens there"}}
		}, "error: /specs/b.yaml: port 127.0.0.1:8080/tcp is taken on this host: workspace c publishes it (choose another port, or stop that)\n" +
			"/specs/c.yaml: port 81/tcp is taken on this host: process 7 (nginx) listens there (choose another port, or stop that)\n"},
		"IPv6": {func(s *scene) {
			s.joined("b", true, nil, []spec.Port{{Host: 8080, Container: 80, Protocol: "tcp", HostIP: "::1"}})
			s.now.IPv4Only = true
		}, "error: /specs/b.yaml: port [::1]:8080/tcp cannot be published: the network of this host has no IPv6 (choose an IPv4 address, or take hostIP out)\n"},
	} {
		s := inOrder()
		test.change(s)
		if got := s.text(); !strings.Contains(got, test.want) {
			t.Errorf("%s:\n%s\nhas no %s", name, got, test.want)
		}
	}
}

func TestAStartOfWhatLostItsPort(t *testing.T) {
	s := inOrder()
	s.joined("b", true, []spec.Port{web}, []spec.Port{web})
	s.joined("c", true, []spec.Port{web}, []spec.Port{web})
	s.now.Networks, s.now.Instances[1].Task = s.now.Networks[1:], state.Task{}
	want := "b: port 8080/tcp is taken on this host: workspace c publishes it (choose another port, or stop that)"
	if _, err := plan.Start(s.now, "b"); err == nil || err.Error() != want {
		t.Errorf("error: %v", err)
	}
}
