package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/state"
)

func TestRootsThatAPlanDeletes(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   []plan.Root
	}{
		{"in place", func(s *scene) { s.want.Workspaces[0].Labels = map[string]string{"a": "b"} }, nil},
		{"replace", func(s *scene) { s.want.Workspaces[0].User = "7" }, []plan.Root{{Key: "rootfs-1", Container: "bot"}}},
		{"delete", func(s *scene) { s.none("D") }, []plan.Root{{Key: "rootfs-1", Container: "bot"}}},
		{"the root filesystem is gone", func(s *scene) {
			s.now.Instances[0].Damaged, s.now.Instances[0].Task = "its root filesystem is gone", state.Task{}
		}, nil},
		{"a stranger whose data is moved", func(s *scene) {
			s.none("R V")
			s.strange("", "rootfs-1")
		}, []plan.Root{{Key: "rootfs-1", Container: "bot", Moved: "/data"}}},
		{"left of a container that is gone", func(s *scene) {
			s.none("R C V")
			s.now.Snapshots = []string{"bot"}
		}, []plan.Root{{Key: "bot", Moved: "/data"}}},
		{"left of a container that is gone, under another name", func(s *scene) {
			s.none("R C V")
			s.now.Snapshots, s.options.AdoptPrefixes = []string{"agent-bot"}, []string{"agent-"}
		}, nil},
	} {
		s := inOrder()
		s.now.Instances[0].Snapshot = "rootfs-1"
		test.change(s)
		p, err := plan.New(s.want, s.now, s.options)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, p.Roots()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		told := p.Tell(map[string]state.Written{"rootfs-1": {Paths: []state.WrittenPath{{Path: "/a", Files: 1}}}})
		if told.ID() != p.ID() {
			t.Errorf("%s: the plan is another one when it is told what is lost", test.name)
		}
	}
}
