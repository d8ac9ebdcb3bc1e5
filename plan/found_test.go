package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// These are single cases that random worlds found first.

func TestAContainerOfAnotherHostIsNotDeletedWithARecord(t *testing.T) {
	s := inOrder()
	s.none("D")
	s.now.Instances[0].Host = "old" // only its label says that it is bot
	s.now.Records[0].Container = "lost"
	text := s.text()
	if strings.Contains(text, "delete container") || !strings.Contains(text, "remove the record of bot") {
		t.Errorf("plan:\n%s", text)
	}
}

func TestAContainerInTheWayIsAnError(t *testing.T) {
	s := inOrder()
	s.none("R V")
	s.strange("/srv/bot", "rootfs-1")
	newer := s.now.Instances[0]
	newer.ID, newer.CreatedAt = "agent-bot", noon
	s.now.Instances = append(s.now.Instances, newer)
	s.options.AdoptPrefixes = []string{"agent-"}
	want := "error: /specs/bot.yaml: container bot is in the way of a new one for workspace bot (save what is needed from that container and delete it, or choose another name)\n"
	if got := s.text(); got != want {
		t.Errorf("plan:\n%s", got)
	}
}

func TestAReplaceOfWhatAUserStoppedDoesNotStartIt(t *testing.T) {
	s := inOrder()
	older := *s.now.Instances[0].Applied
	older.User = "7"
	s.now.Instances[0].Applied, s.now.Records[0].StoppedByUser = &older, true // the run that applied it was cut before the container
	if got := s.text(); !strings.Contains(got, "bot: replace") || strings.Contains(got, "start bot") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestAdoptionComparesTheImage(t *testing.T) {
	s := inOrder()
	s.none("R V")
	s.strange("/srv/bot", "rootfs-1")
	s.now.Instances[0].Found.Image = s.want.Workspaces[0].Image
	s.want.Workspaces[0].ImagePullPolicy = spec.PullAlways
	s.now.Images = map[string]state.Image{s.want.Workspaces[0].Image: {Name: "x", Digest: "sha256:1", Source: "sha256:2"}}
	if got := s.text(); !strings.Contains(got, "image digest: sha256:1 -> sha256:2") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestPortsOfARunningWorkspaceAreCompared(t *testing.T) {
	s := inOrder()
	s.network(spec.Port{Host: 80, Container: 80, Protocol: "tcp"})
	s.now.Networks[0].Ports = nil
	if got := s.text(); !strings.Contains(got, "because: its network publishes other ports") {
		t.Errorf("plan:\n%s", got)
	}
}

// rollback is the way back from a replace of bot that failed when it was about
// to start.
func rollback(t *testing.T, s *scene, change func(now *state.State)) plan.Change {
	t.Helper()
	p, err := plan.New(s.want, s.now, s.options)
	if err != nil {
		t.Fatal(err)
	}
	w := plan.NewWorld(s.now)
	w.Time = noon.Add(time.Second)
	for _, step := range p.Changes[0].Steps {
		if _, starts := step.(plan.StartTask); starts {
			break
		}
		if err := w.Do(step); err != nil {
			t.Fatal(err)
		}
	}
	now := w.State()
	change(&now)
	back, err := plan.Rollback(p.Changes[0], now)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func steps(c plan.Change) string {
	var lines []string
	for _, s := range c.Steps {
		lines = append(lines, s.String())
	}
	return strings.Join(lines, "\n")
}

func TestTheWayBackBringsNoOlderTrash(t *testing.T) {
	s := inOrder()
	s.want.Workspaces[0].User = "7"
	back := rollback(t, s, func(now *state.State) {
		now.Trash = append(now.Trash, state.Trashed{Workspace: "bot", At: noon.Add(-time.Hour)})
	})
	if got := steps(back); strings.Contains(got, "take back") || !strings.Contains(got, "start bot") {
		t.Errorf("the way back:\n%s", got)
	}
}

func TestTheWayBackHasTheImageThatRan(t *testing.T) {
	s := inOrder()
	s.want.Workspaces[0].ImagePullPolicy, s.now.Instances[0].Applied.ImagePullPolicy = spec.PullAlways, spec.PullAlways
	image := s.now.Images[s.want.Workspaces[0].Image]
	image.Source = "sha256:2" // the tag has moved
	s.now.Images[s.want.Workspaces[0].Image] = image
	back := rollback(t, s, func(*state.State) {})
	if got := steps(back); !strings.Contains(got, "create container bot from docker.io/library/bot@sha256:1") {
		t.Errorf("the way back:\n%s", got)
	}
}

func TestDataOfAnotherSetIsNoted(t *testing.T) {
	s := inOrder()
	s.none("R C V")
	s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "default", At: noon.Add(-time.Hour)}}
	want := "note: bot starts with new data: what was preserved of it is of set default (carrel data restore bot makes that its data)"
	if got := s.text(); !strings.Contains(got, want) || strings.Contains(got, "restore data of bot from") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestACommandKnowsTheSizeOfTheSet(t *testing.T) {
	s := inOrder()
	for _, name := range []string{"b", "c", "d", "e"} {
		s.now.Records = append(s.now.Records, state.Record{Workspace: name, Set: "s", Host: "h", Version: 1})
	}
	p, err := plan.Delete(s.now, "bot", "b", "c")
	if err != nil || p.Owned != 5 || !p.MassDelete() {
		t.Errorf("%d of %d, %v", len(p.Deletes()), p.Owned, err)
	}
}

func TestEachUnknownWorkspaceIsNamed(t *testing.T) {
	_, err := plan.Stop(inOrder().now, "bot", "nosuch", "neither")
	want := "no workspace of host h is called neither (it has bot)\nno workspace of host h is called nosuch (it has bot)"
	if err == nil || err.Error() != want {
		t.Errorf("error: %v", err)
	}
}

// killed is bot as a replace with preserveData Never left it that was killed after
// it deleted the container.
func killed() *scene {
	s := inOrder()
	s.none("C V")
	s.want.Workspaces[0].PreserveData = spec.PreserveNever
	applied := s.want.Workspaces[0]
	s.now.Records[0].Applied, s.now.Records[0].UpdatedAt = &applied, noon.Add(-time.Hour)
	s.now.Trash = []state.Trashed{{Workspace: "bot", At: noon.Add(-time.Minute)}}
	return s
}

func TestDataThatAKilledReplaceDiscardedReturnsWithItsSpec(t *testing.T) {
	if got := killed().text(); !strings.Contains(got, "2. take back discarded data of bot") || strings.Contains(got, "WARNING") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestDataThatAKilledReplaceDiscardedIsNotDeletedWithoutAWord(t *testing.T) {
	s := killed()
	s.want.Workspaces[0].User = "7"
	if got := s.text(); !strings.HasPrefix(got, "WARNING: this deletes data of bot permanently") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestTheWayBackHasTheDataThatAKilledReplaceDiscarded(t *testing.T) {
	s := inOrder()
	s.none("V")
	s.now.Instances[0].CreatedAt = noon.Add(-time.Hour)
	s.now.Trash = []state.Trashed{{Workspace: "bot", At: noon.Add(-time.Minute)}}
	s.want.Workspaces[0].PreserveData, s.now.Instances[0].Applied.PreserveData = spec.PreserveNever, spec.PreserveNever
	s.want.Workspaces[0].User = "7"
	back := rollback(t, s, func(*state.State) {})
	if got := steps(back); !strings.Contains(got, "take back discarded data of bot") {
		t.Errorf("the way back:\n%s", got)
	}
}

func TestTheWayBackTakesNoPortThatAnotherHasGot(t *testing.T) {
	s := inOrder()
	port := spec.Port{Host: 80, Container: 80, Protocol: "tcp"}
	s.network(port)
	s.want.Workspaces[0].User = "7"
	p, err := plan.New(s.want, s.now, s.options)
	if err != nil {
		t.Fatal(err)
	}
	s.now.Networks = []state.Attachment{{Workspace: "other", Set: "s", Ports: []spec.Port{port}, Netns: 9}}
	s.now.Instances = nil
	_, err = plan.Rollback(p.Changes[0], s.now)
	if err == nil || !strings.Contains(err.Error(), "port 80/tcp of the host is published by workspace other of set s") {
		t.Errorf("error: %v", err)
	}
}

func TestAContainerWithoutItsRootFilesystemIsReplaced(t *testing.T) {
	s := inOrder()
	s.now.Instances[0].Damaged, s.now.Instances[0].Task = "its root filesystem is gone", state.Task{}
	got := s.text()
	for _, want := range []string{"container: its root filesystem is gone -> a new one", "delete container bot", "create container bot", "start bot"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

// While the spec of a workspace has an error, nothing may remove the data that a
// killed replace discarded: nobody has said that it is not wanted.
func TestDataThatAKilledReplaceDiscardedStaysWhileSpecsHaveErrors(t *testing.T) {
	s := killed()
	s.want.Workspaces, s.want.Invalid = nil, []string{"/specs/bot.yaml"}
	if got := s.text(); !strings.HasPrefix(got, "Nothing to do") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestDeletingWhatAKilledReplaceDiscardedIsADataLoss(t *testing.T) {
	for name, s := range map[string]*scene{"container deleted": killed(), "container left": inOrder()} {
		if name == "container left" {
			s.none("V")
			s.now.Instances[0].CreatedAt, s.now.Instances[0].Applied.PreserveData = noon.Add(-time.Hour), spec.PreserveNever
			s.now.Trash = []state.Trashed{{Workspace: "bot", At: noon.Add(-time.Minute)}}
		}
		s.none("D")
		if got := s.text(); !strings.HasPrefix(got, "WARNING: this deletes data of bot permanently") {
			t.Errorf("%s: plan:\n%s", name, got)
		}
	}
}

func TestImportPreservesWhatAKilledReplaceDiscarded(t *testing.T) {
	p, err := plan.Import(killed().now, "bot", "/backup.tar")
	if err != nil {
		t.Fatal(err)
	}
	want := `extract data of bot from /backup.tar
take back discarded data of bot
preserve data of bot
use extracted data as volume of bot
note in the history of bot`
	if got := steps(p.Changes[0]); got != want {
		t.Errorf("steps:\n%s", got)
	}
}

// whole is the text of the plan of a command.
func whole(p plan.Plan, err error) string {
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	text, _, _ := strings.Cut(report.OfPlan(p).Text(), "\nplan ")
	return text
}

func TestDataOfAWorkspaceThatNobodyDescribes(t *testing.T) {
	s := inOrder()
	s.none("R C V")
	s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-time.Hour)}}
	volume := []state.Volume{{Workspace: "bot", Path: "/volumes/bot"}}
	for _, test := range []struct {
		name      string
		preserved bool
		volumes   []state.Volume
		plan      func(state.State) (plan.Plan, error)
		want      string
	}{
		{"restore", true, nil, func(now state.State) (plan.Plan, error) { return plan.Restore(now, "bot", "") },
			"error: this host has no workspace bot whose volume the data could be (apply its spec first: the newest data that its set preserved returns by itself, and then data restore takes other data)\n"},
		{"import", true, nil, func(now state.State) (plan.Plan, error) { return plan.Import(now, "bot", "/backup.tar") },
			`Plan for set s on host h: 1 to swap data, 0 unchanged.

  ~ bot: swap data
      because: there is no such workspace here yet: it begins with this data when its spec is applied
      1. extract data of bot from /backup.tar
      2. use extracted data as volume of bot
      3. preserve data of bot
      4. note in the history of bot
`},
		{"import, and a volume", false, volume, func(now state.State) (plan.Plan, error) { return plan.Import(now, "bot", "/backup.tar") },
			`Plan for host h: 1 to swap data, 0 unchanged.

  ~ bot: swap data
      because: there is no such workspace here yet: it begins with this data when its spec is applied
      1. extract data of bot from /backup.tar
      2. preserve data of bot
      3. use extracted data as volume of bot
      4. preserve data of bot
      5. note in the history of bot
`},
		{"delete", false, volume, func(now state.State) (plan.Plan, error) { return plan.Delete(now, "bot") },
			`Plan for host h: 1 to clean, 0 unchanged.

  ~ bot: clean
      because: no workspace has its volume
      1. preserve data of bot
      2. note in the history of bot
`},
		{"remove", false, volume, func(now state.State) (plan.Plan, error) { return plan.Discard(now, "bot", "") },
			"error: no data of bot is preserved, but a volume is there that no workspace has (carrel delete bot preserves it)\n"},
		{"remove what is preserved", true, nil, func(now state.State) (plan.Plan, error) { return plan.Discard(now, "bot", "") },
			`WARNING: this deletes preserved data of bot permanently
Plan for set s on host h: 1 to discard data, 0 unchanged.

  - bot: discard data (DATA IS DELETED PERMANENTLY)
      1. discard data of bot preserved at 2026-01-01T11:00:00Z
      2. remove discarded data of bot
      3. note in the history of bot
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := s.now
			now.Volumes = test.volumes
			if !test.preserved {
				now.Preserved = nil
			}
			if diff := cmp.Diff(test.want, whole(test.plan(now))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportedDataIsForTheSetThatFirstDescribesIt(t *testing.T) {
	s := inOrder()
	s.none("R C V")
	p, err := plan.Import(s.now, "bot", "/backup.tar")
	if err != nil {
		t.Fatal(err)
	}
	w := plan.NewWorld(s.now)
	carryOut(t, w, p)
	s.now = w.State()
	if got := s.text(); !strings.Contains(got, "because: its preserved data returns") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestPreservedDataIsNotRemovedWithDataThatAKilledReplaceDiscarded(t *testing.T) {
	s := killed()
	s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-2 * time.Hour)}}
	_, err := plan.Discard(s.now, "bot", "")
	want := "the last change of bot did not complete, and its data may be needed (apply its spec first, which completes that)"
	if err == nil || err.Error() != want {
		t.Errorf("error: %v", err)
	}
}

func TestImportPreservesWhatIsLeftOfAContainer(t *testing.T) {
	s := inOrder()
	s.none("C V")
	s.now.Records[0].Container, s.now.Snapshots = "agent-bot", []string{"agent-bot"}
	p, err := plan.Import(s.now, "bot", "/backup.tar")
	if err != nil {
		t.Fatal(err)
	}
	want := `extract data of bot from /backup.tar
copy data of bot from /data in root filesystem agent-bot
preserve data of bot
use extracted data as volume of bot
note in the history of bot`
	if got := steps(p.Changes[0]); got != want {
		t.Errorf("steps:\n%s", got)
	}
}
