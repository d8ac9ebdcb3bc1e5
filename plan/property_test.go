package plan_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// worlds is how many random worlds plans are tried on; commands and the way back,
// which take longer, are tried on a third of them.
var worlds = flag.Int("worlds", 3000, "random worlds for each property")

// FuzzPlans tries the properties of plans on random worlds:
//
//   - a plan, simulated, is refused nowhere and leads to a world for which the
//     next plan is empty
//   - a plan that is cut after any step, planned again and simulated, leads to
//     the same world
//   - no data is lost, unless the plan says so
func FuzzPlans(f *testing.F) {
	for seed := range uint64(*worlds) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		checkPlan(t, randomScene(seed))
	})
}

// next is the plan for a world, a minute later. What has an error is left as it
// is.
func (s *scene) next(w *plan.World) plan.Plan {
	w.Time = w.Time.Add(time.Minute)
	p, _ := plan.Around(s.want, w.State(), s.options)
	return p
}

func (s *scene) world() *plan.World {
	w := plan.NewWorld(s.now)
	fill(w)
	for _, c := range s.now.Instances { // what runs has its image here, whatever its tag points to now
		w.Images[c.Image] = state.Image{Name: c.Image, Digest: cmp.Or(c.Digest, "sha256:v0")}
	}
	return w
}

func checkPlan(t *testing.T, s *scene) {
	t.Helper()
	first, errs := plan.Around(s.want, s.now, s.options)
	w := s.world()
	before := contents(w)
	carryOut(t, w, first)
	if lost := missing(before, contents(w), first); len(lost) > 0 {
		t.Fatalf("data is lost: %v\n%s", lost, text(first))
	}
	ambiguous := s.ambiguous()
	next := s.next(w)
	for range 3 {
		if len(errs) > 0 || ambiguous && s.options.PruneOrphans {
			// What was left as it was may be possible now: a port is free. Of several
			// orphans of one name, one is deleted at a time.
			carryOut(t, w, next)
			next = s.next(w)
		}
	}
	if !next.Empty() {
		t.Fatalf("after this plan:\n%s\nthere is still something to do:\n%s", text(first), text(next))
	}
	if ambiguous || len(errs) > 0 {
		return
	}
	end := String(w)
	for cut := 1; ; cut++ {
		w := s.world()
		if !carryOutSteps(t, w, first, cut) {
			return
		}
		rest := s.next(w)
		carryOut(t, w, rest)
		if diff := gocmp.Diff(end, String(w)); diff != "" {
			t.Fatalf("cut after step %d of\n%s\nand going on with\n%s\nthe end differs (-uncut +cut):\n%s", cut, text(first), text(rest), diff)
		}
	}
}

// ambiguous reports whether the end depends on what a plan that was cut left:
// two instances say that they are one workspace, or one and what is left of the one
// that its record names, one runs though its spec does not start it, which only its
// running tells, data is to be discarded and the record says that it is not, or a
// workspace is renamed whose record names something that is left, beside newer
// preserved data: once that has moved, what is left may be data of its own.
func (s *scene) ambiguous() bool {
	named := map[string]int{}
	for _, c := range s.now.Instances {
		name := strings.TrimPrefix(strings.TrimPrefix(c.ID, "agent-"), "x-")
		named[name]++
		by := func(w spec.Workspace) bool { return (w.Name == name || w.RenamedFrom == name) && !w.AutoStart }
		if named[name] > 1 || c.Task.Alive() && slices.ContainsFunc(s.want.Workspaces, by) {
			return true
		}
	}
	for _, r := range s.now.Records {
		if named[r.Workspace] > 0 && slices.Contains(s.now.Snapshots, r.Container) {
			return true
		}
		for _, w := range s.want.Workspaces {
			if w.RenamedFrom == r.Workspace && slices.Contains(s.now.Snapshots, r.Container) {
				return true
			}
			if (w.Name == r.Workspace || w.RenamedFrom == r.Workspace) && w.PreserveData == spec.PreserveNever && r.Applied != nil &&
				(r.Applied.PreserveData != spec.PreserveNever || specText(&w) == specText(r.Applied)) {
				return true
			}
		}
	}
	return false
}

func text(p plan.Plan) string { return report.OfPlan(p).Text() }

// carryOut simulates a plan.
func carryOut(t *testing.T, w *plan.World, p plan.Plan) {
	t.Helper()
	carryOutSteps(t, w, p, 1<<30)
}

// carryOutSteps simulates the first steps of a plan. It is false when there are
// not so many.
func carryOutSteps(t *testing.T, w *plan.World, p plan.Plan, n int) bool {
	t.Helper()
	for _, c := range p.Changes {
		for i, s := range c.Steps {
			if n == 0 {
				return true
			}
			n--
			if err := w.Do(s); err != nil {
				t.Fatalf("step %d of %s is refused: %s: %v\n%s", i+1, c.Workspace, s, err, text(p))
			}
		}
	}
	return n == 0
}

// contents are all data that may be somebody's work.
func contents(w *plan.World) map[string]string {
	all := map[string]string{} // content: workspace
	put := func(workspace string, data plan.Files) {
		for kind, name := range data {
			all[kind+" "+name] = workspace
		}
	}
	for name, data := range w.Volumes {
		put(name, data)
	}
	for name, kept := range w.Preserved {
		for _, k := range kept {
			put(name, k.Data)
		}
	}
	for _, c := range w.Instances {
		if c.Volume == "" {
			put(c.Workspace, w.RootFilesystems[c.Snapshot])
		}
	}
	return all
}

// missing is the data that is gone though the plan did not say so.
func missing(before, after map[string]string, p plan.Plan) (lost []string) {
	said := map[string]bool{}
	for _, c := range p.Changes {
		said[c.Workspace] = c.Cost == decide.CostDataAtRisk
	}
	for content, workspace := range before {
		if _, there := after[content]; !there && !said[workspace] {
			lost = append(lost, content)
		}
	}
	return lost
}

// String is a world without what differs between two ways to the same end:
// times, versions, the numbers of namespaces, copies of the same data that were
// preserved twice, and the file that described a workspace, which is written
// with other changes only.
func String(w *plan.World) string {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for id, c := range w.Instances {
		line("instance %s: of %q %q %q, applied %v, image %s, volume %q, labels %v, drift %v, alive %v, drifted %v, netns %v", id, c.Workspace, c.Set, c.Host, specText(c.Applied), c.Digest, c.Volume,
			c.Labels, c.Drift, c.Task.Alive(), c.Task.Drifted, c.Task.Netns != 0 && c.Task.Netns == w.Networks[c.Workspace].Netns)
	}
	for name, r := range w.Records {
		line("record %s: of %q %q, container %q, applied %v, stopped by user %v, error %q", name, r.Set, r.Host, r.Container, specText(r.Applied), r.StoppedByUser, r.LastError)
	}
	for name, data := range w.Volumes {
		line("volume %s: %v", name, data)
	}
	for name, all := range w.Preserved {
		for _, k := range all {
			if !maps.Equal(k.Data, w.Volumes[name]) {
				line("preserved %s: set %q %v", name, k.Set, k.Data)
			}
		}
	}
	for name, all := range w.Trash {
		line("trash %s: %d", name, len(all))
	}
	for name, all := range w.Left {
		line("left of %s: %v", name, all)
	}
	for name, a := range w.Networks {
		line("network %s: ports %v, namespace %v, broken %q", name, a.Ports, a.Netns != 0, a.Broken)
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

func specText(w *spec.Workspace) string {
	if w == nil {
		return "none"
	}
	text, err := state.EncodeSpec(*w)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
