package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

func TestWhatIsLostAsText(t *testing.T) {
	many := state.Written{More: true}
	for _, path := range []string{"/a", "/b", "/c", "/d", "/e", "/f", "/g"} {
		many.Paths = append(many.Paths, state.WrittenPath{Path: path, Files: 2, Bytes: 3 << 19})
	}
	for _, test := range []struct {
		name string
		lost []state.Written
		want []string
	}{
		{"nothing", nil, nil},
		{"a volume and a deletion", []state.Written{{Paths: []state.WrittenPath{{Path: "/db", Files: 1, Bytes: 2048, Volume: true}, {Path: "/etc", Deleted: 2}}}},
			[]string{"lost: /db (volume of the image, 1 file, 2.0 KiB)", "lost: /etc (2 deletions)"}},
		{"more than people read", []state.Written{many}, []string{
			"lost: /a (2 files, 1.5 MiB)", "lost: /b (2 files, 1.5 MiB)", "lost: /c (2 files, 1.5 MiB)", "lost: /d (2 files, 1.5 MiB)", "lost: /e (2 files, 1.5 MiB)",
			"lost: 2 other paths (4 files, 3.0 MiB)", "lost: at least: there is more than was counted"}},
		{"not known", []state.Written{{Err: "snapshotter native does not tell"}},
			[]string{"lost: what was written outside of its data, which is not known: snapshotter native does not tell"}},
	} {
		var got []string
		text := report.OfPlan(plan.Plan{Changes: []plan.Change{{Workspace: "bot", Lost: test.lost}}}).Text()
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "lost: ") {
				got = append(got, line)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestDriftAndWhatIsLostFitTheSchema(t *testing.T) {
	s := inOrder()
	s.want.Workspaces[0].User = "7"
	s.now.Instances[0].Snapshot, s.now.Instances[0].Task.Limits = "rootfs-1", &spec.Limits{Pids: 7}
	p, err := plan.New(s.want, s.now, s.options)
	if err != nil {
		t.Fatal(err)
	}
	p = p.Tell(map[string]state.Written{"rootfs-1": {
		Paths: []state.WrittenPath{{Path: "/db", Files: 1, Bytes: 2, Deleted: 3, Volume: true}, {Path: "/etc"}}, More: true, Err: "no",
	}})
	v := report.OfPlan(p)
	valid(t, "plan", v)
	for _, want := range []string{"resources.limits.pids: 7 -> 4096 (changed on the host)", "lost: /db (volume of the image, 1 file, 2 B, 3 deletions)"} {
		if !strings.Contains(v.Text(), want) || !strings.Contains(v.Markdown(), want) {
			t.Errorf("no %q in\n%s\n%s", want, v.Text(), v.Markdown())
		}
	}
}
