package records_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/drivers/records"
	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

func TestAgentsTellOfThemselves(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			s := open(t, url(t))
			first := state.Agent{
				Host: "a", Set: "s", Version: "v1", Paths: []string{"/specs"}, SeenAt: time.Unix(100, 0).UTC(),
				Pending: []state.Pending{{Workspace: "bot", Action: string(decide.ActionDelete), Why: "why"}},
				Waiting: []state.Waiting{{Image: "x:1", Why: "gone", Attempts: 3, Until: time.Unix(200, 0).UTC()}},
				Errors:  []state.SpecError{{Position: "a.yaml:1:1", Text: "wrong", Since: time.Unix(50, 0).UTC()}},
			}
			second := state.Agent{Host: "b", Set: "s", SeenAt: time.Unix(300, 0).UTC()}
			for _, a := range []state.Agent{{Host: "a", Set: "s", Trouble: "old"}, second, first} {
				if err := s.SaveAgent(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Agents(t.Context())
			if diff := cmp.Diff([]state.Agent{first, second}, got); diff != "" || err != nil {
				t.Errorf("agents: %v (-want +got):\n%s", err, diff)
			}
			if err := s.SaveRecord(t.Context(), plan.SaveRecord{Record: state.Record{Workspace: "bot"}}, []state.Entry{entry("record", "")}); err != nil {
				t.Fatal(err)
			}
			if err := s.Trim(t.Context(), time.Unix(1000, 0), time.Unix(200, 0)); err != nil {
				t.Fatal(err)
			}
			got, err = s.Agents(t.Context())
			if diff := cmp.Diff([]state.Agent{second}, got); diff != "" || err != nil {
				t.Errorf("agents that are left: %v (-want +got):\n%s", err, diff)
			}
			history, err := s.History(t.Context(), records.Query{})
			if len(history) != 0 || err != nil {
				t.Errorf("history that is left: %v, %v", history, err)
			}
		})
	}
}

func TestObservationsAreKept(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			s := open(t, url(t))
			applied := spec.Default()
			applied.Name, applied.Image, applied.Env = "bot", "x:1", []spec.EnvVar{{Name: "A", Value: "b"}}
			applied.Network.Ports = []spec.Port{{Host: 1, Container: 2, Protocol: "tcp"}}
			at := time.Unix(100, 5000).UTC()
			first := state.State{
				Host: "a", Time: at, Shared: true, VolumesDir: "/volumes", Snapshots: []string{"left"}, CNI: "built-in",
				Instances: []state.Instance{{
					ID: "bot", Workspace: "bot", Set: "s", Host: "a", Applied: &applied, Found: &applied, Snapshot: "bot", Image: "x@1", Digest: "1",
					Volume: "/volumes/bot", Labels: map[string]string{"a": "b"}, Devices: map[string]string{"v/c=d": "1"}, CreatedAt: at, Unreadable: "f",
					Task: state.Task{Status: state.TaskStopped, PID: 1, Netns: 2, ExitCode: 3, ExitedAt: at, OOMKills: 4},
				}},
				Images:    map[string]state.Image{"x:1": {Name: "x:1", Digest: "1", Source: "2", Err: "e"}},
				Volumes:   []state.Volume{{Workspace: "bot", Path: "/volumes/bot"}},
				Preserved: []state.Preserved{{Workspace: "old", Set: "s", At: at, Path: "/preserved/old"}},
				Trash:     []state.Trashed{{Workspace: "old", At: at}},
				Networks:  []state.Attachment{{Workspace: "bot", Set: "s", Network: "n", Addresses: []string{"10.0.0.2"}, Ports: applied.Network.Ports, Netns: 2, Broken: "f"}},
				Devices:   state.Devices{Found: map[string]string{"v/c=d": "1"}, Folders: []string{"/cdi"}, Warnings: []string{"w"}},
				Absent:    map[string]bool{"/nowhere": true},
				Records:   []state.Record{{Workspace: "bot", Set: "s", Host: "a", Applied: &applied, StoppedByUser: true, Version: 3, CreatedAt: at, UpdatedAt: at}},
			}
			for _, before := range []state.State{{Host: "a"}, first} {
				if err := s.SaveObservation(t.Context(), before); err != nil {
					t.Fatal(err)
				}
			}
			for host, workspace := range map[string]string{"a": "later", "b": "other"} {
				r := state.Record{Workspace: workspace, Set: "s", Host: host}
				if err := s.SaveRecord(t.Context(), plan.SaveRecord{Record: r}, nil); err != nil {
					t.Fatal(err)
				}
			}
			got, _, err := s.Observations(t.Context())
			if err != nil || len(got) != 1 || len(got[0].Records) != 2 || got[0].Records[1].Workspace != "other" {
				t.Fatalf("observations: %v, %+v", err, got)
			}
			got[0].Records = got[0].Records[:1]
			if diff := cmp.Diff(first, got[0], cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
				t.Errorf("the observation (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALostClaimSaysWhoHasIt(t *testing.T) {
	s := open(t, databases["sqlite"](t))
	claim := plan.ClaimRecord{Workspace: "bot", Set: "s", Host: "a"}
	if err := s.ClaimRecord(t.Context(), claim, nil); err != nil {
		t.Fatal(err)
	}
	claim.Host = "b"
	var claimed *plan.ClaimedError
	if err := s.ClaimRecord(t.Context(), claim, nil); !errors.As(err, &claimed) || claimed.Host != "a" || claimed.Set != "s" {
		t.Errorf("a lost claim: the error is %v", err)
	}
}
