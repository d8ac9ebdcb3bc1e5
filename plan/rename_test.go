package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// toRobot is bot in perfect order, whose spec now calls it robot.
func toRobot() *scene {
	s := inOrder()
	w := &s.want.Workspaces[0]
	w.Name, w.RenamedFrom = "robot", "bot"
	return s
}

func TestARenameTakesEverythingAlong(t *testing.T) {
	s := toRobot()
	s.want.Workspaces[0].Network = spec.Network{Mode: spec.NetworkCNI}
	s.now.Instances[0].Applied.Network = s.want.Workspaces[0].Network
	s.now.Instances[0].Task.Netns, s.now.Networks = 5, []state.Attachment{{Workspace: "bot", Set: "s", Netns: 5}}
	s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-time.Hour)}, {Workspace: "bot", Set: "t", At: noon.Add(-2 * time.Hour)}}
	want := `Plan for set s on host h: 1 to rename, 0 unchanged.

  ~ robot: rename (restarts; up to 10s down; data kept)
      because: bot is called robot now
      1. check image docker.io/library/bot:v1 for robot
      2. stop bot within 10s
      3. detach network of bot
      4. rename data of bot to robot
      5. delete container bot
      6. create container robot from docker.io/library/bot:v1
      7. attach network of robot
      8. start robot
      9. record robot
      10. remove the record of bot
`
	if diff := cmp.Diff(want, s.text()); diff != "" {
		t.Fatalf("plan (-want +got):\n%s", diff)
	}
	p, err := plan.New(s.want, s.now, s.options)
	if err != nil {
		t.Fatal(err)
	}
	w := s.world()
	carryOut(t, w, p)
	if got := w.Volumes["robot"]["volume"]; got != "bot" || len(w.Preserved["robot"]) != 1 || len(w.Preserved["bot"]) != 1 {
		t.Errorf("after the rename:\n%s", String(w))
	}
	s.now = w.State()
	if got := s.text(); !strings.HasPrefix(got, "Nothing to do for set s on host h: 1 unchanged.\n") {
		t.Errorf("while the field stays in the spec:\n%s", got)
	}
}

func TestRenames(t *testing.T) {
	older := func(s *scene) {
		s.now.Records[0].CreatedAt, s.now.Instances[0].CreatedAt = noon.Add(-time.Hour), noon.Add(-time.Hour)
	}
	robot := func(s *scene) {
		w := s.want.Workspaces[0]
		s.now.Records = append(s.now.Records, state.Record{Workspace: "robot", Set: "s", Host: "h", Source: w.Source, Container: "robot", Applied: &w, Version: 1})
		c := s.now.Instances[0]
		c.ID, c.Workspace, c.Volume, c.Applied = "robot", "robot", "/volumes/robot", &w
		s.now.Instances = append(s.now.Instances, c)
		s.now.Volumes = append(s.now.Volumes, state.Volume{Workspace: "robot", Path: "/volumes/robot"})
	}
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   []string
		not    string
	}{
		{"with another change", func(s *scene) { s.want.Workspaces[0].User = "7" }, []string{"robot: rename", "user: (unset) -> 7"}, ""},
		{"of what a user stopped", func(s *scene) {
			s.now.Records[0].StoppedByUser, s.now.Instances[0].Task = true, state.Task{}
		}, []string{"robot: rename (data kept)", "5. record robot as stopped by user", "6. remove the record of bot"}, "start robot"},
		{"of one whose container is gone", func(s *scene) { s.none("C") }, []string{"2. rename data of bot to robot", "3. create container robot"}, "stop bot"},
		{"of one that was adopted", func(s *scene) {
			s.none("V")
			s.now.Instances[0].Volume, s.now.Instances[0].Snapshot = "", "rootfs-1"
		}, []string{"3. copy data of robot from /data in root filesystem rootfs-1", "4. delete container bot"}, "rename data"},
		{"of one that was adopted and is gone but for its root filesystem", func(s *scene) {
			s.none("V C")
			s.now.Records[0].Container, s.now.Snapshots = "agent-bot", []string{"agent-bot"}
		}, []string{"2. copy data of robot from /data in root filesystem agent-bot", "3. create container robot"}, ""},
		{"of one that only has preserved data", func(s *scene) {
			s.none("R C V")
			s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-time.Hour)}}
		}, []string{"2. rename data of bot to robot", "3. restore data of robot from 2026-01-01T11:00:00Z", "4. create container robot"}, ""},
		{"of one without a record", func(s *scene) { s.none("R") }, []string{"robot: rename", "3. rename data of bot to robot", "7. record robot"}, "remove the record"},
		{"of nothing", func(s *scene) { s.none("R C V") },
			[]string{"robot: create", "note: robot is renamed from bot, which this host does not have: it begins with new data"}, "rename data"},
		{"after both were applied", func(s *scene) {
			robot(s)
			s.now.Records, s.now.Instances, s.now.Volumes = s.now.Records[1:], s.now.Instances[1:], s.now.Volumes[1:]
			s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-time.Hour)}}
		}, []string{"~ robot: rename\n", "because: the preserved data of bot becomes its own (carrel data restore robot makes that its volume)", "1. rename data of bot to robot"}, "create"},
		{"when both have data", robot, []string{"error: /specs/bot.yaml: workspace bot cannot become robot, because both exist: bot has the volume /volumes/bot, and robot has the volume /volumes/robot (take renamedFrom out"}, ""},
		{"when somebody's volume has the name", func(s *scene) {
			s.now.Volumes = append(s.now.Volumes, state.Volume{Workspace: "robot", Path: "/volumes/robot"})
		}, []string{"error:", "both exist: bot has the volume /volumes/bot, and robot has the volume /volumes/robot"}, ""},
		{"of another set", func(s *scene) { s.now.Records[0].Set = "t" }, []string{"error:", "workspace bot belongs to set t, this is set s (take renamedFrom out)"}, ""},
		{"of another set, long after", func(s *scene) { robot(s); s.now.Records[0].Set, s.now.Instances[0].Set = "t", "t" }, []string{"Nothing to do"}, "note: robot"},
		{"on another host", func(s *scene) { s.now.Records[0].Host, s.now.Instances = "g", nil }, []string{"Nothing to do", "1 on other hosts"}, ""},
		{"from another host", func(s *scene) { s.now.Records[0].Host, s.now.Instances, s.want.Workspaces[0].Host = "g", nil, "h" },
			[]string{"error:", "workspace bot is on host g, with its data (rename it there first, apply, and then move it)"}, ""},
		{"to another host", func(s *scene) { s.want.Workspaces[0].Host = "g" },
			[]string{"error:", "workspace bot is on this host, h, with its data; its spec renames it to robot and moves it to g (rename it first, apply, and then move it)"}, ""},
		{"of one whose file was not loaded", func(s *scene) { s.now.Records[0].Source = "/other/bot.yaml" },
			[]string{"error:", "workspace bot cannot be renamed to robot: /other/bot.yaml, which described it, was not loaded (load that too"}, ""},
		{"while another file has an error", func(s *scene) { s.want.Invalid = []string{"/specs/x.yaml"} },
			[]string{"error:", "there is an error in /specs/x.yaml"}, ""},
		{"of one whose volume is missing", func(s *scene) { s.none("V") },
			[]string{"error:", "the volume of workspace bot, /volumes/bot, is missing", "carrel delete bot, then apply"}, ""},
		{"of one with a change that was cut short", func(s *scene) {
			s.none("V")
			older(s)
			s.now.Trash = []state.Trashed{{Workspace: "bot", At: noon}}
		}, []string{"error:", "the last change of workspace bot did not complete (apply it once more under the name bot, and then rename it)"}, ""},
		{"of one with old trash", func(s *scene) {
			s.now.Trash = []state.Trashed{{Workspace: "bot", At: noon.Add(-time.Hour)}}
			s.now.Instances[0].CreatedAt = noon
		}, []string{"2. remove discarded data of bot", "3. stop bot"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := toRobot()
			test.change(s)
			got := s.text()
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			if test.not != "" && strings.Contains(got, test.not) {
				t.Errorf("there is %q in:\n%s", test.not, got)
			}
		})
	}
}

// While the new name cannot be applied, the old workspace is not taken for one that
// no spec describes any more.
func TestARenameThatIsNotPossibleDeletesNothing(t *testing.T) {
	s := toRobot()
	s.want.Workspaces[0].Devices = []string{"a/b=c"}
	p, errs := plan.Around(s.want, s.now, s.options)
	if !p.Empty() || len(errs) != 1 {
		t.Errorf("errors %v, plan:\n%s", errs, text(p))
	}
}

func TestNobodyElseTouchesAWorkspaceThatIsBeingRenamed(t *testing.T) {
	for _, name := range []string{"bot", "robot"} {
		s := toRobot()
		s.options.Busy = map[string]bool{name: true}
		if got := s.text(); !strings.HasPrefix(got, "Nothing to do") {
			t.Errorf("%s is being changed, and the plan is:\n%s", name, got)
		}
	}
}

// A plan that deletes one workspace and begins another says where the data stays.
func TestAWorkspaceThatMayBeRenamedIsNoted(t *testing.T) {
	s := toRobot()
	s.want.Workspaces[0].RenamedFrom = ""
	want := "note: bot is deleted, and its data is preserved under that name; robot begins with new data (if it is bot under another name, write renamedFrom: bot into its metadata, and it keeps its data)"
	if got := s.text(); !strings.Contains(got, want) {
		t.Errorf("plan:\n%s", got)
	}
	other := wanted("other")
	s.want.Workspaces = append(s.want.Workspaces, other)
	if got := s.text(); !strings.Contains(got, want) {
		t.Errorf("of two, the one of the same file is not noted:\n%s", got)
	}
	s.want.Workspaces[0].Source = "/specs/robot.yaml"
	if got := s.text(); strings.Contains(got, "renamedFrom") {
		t.Errorf("nothing tells which of two it is:\n%s", got)
	}
}
