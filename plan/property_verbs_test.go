package plan_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/state"
)

// commands are what a person asks for by name, and asks for again when it was
// cut short.
var commands = map[string]func(state.State, ...string) (plan.Plan, error){
	"stop": plan.Stop, "start": plan.Start, "restart": plan.Restart, "delete": plan.Delete,
}

// FuzzCommands tries the properties of commands on random worlds: no step is
// refused, no data is lost, and a command that is cut after any step and given
// again leads to the same world.
func FuzzCommands(f *testing.F) {
	for seed := range uint64(*worlds / 3) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s := randomScene(seed)
		if s.ambiguous() {
			return
		}
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			s.checkCommand(t, name, commands[name])
		}
		s.checkDataCommands(t)
	})
}

func (s *scene) checkCommand(t *testing.T, name string, command func(state.State, ...string) (plan.Plan, error)) {
	t.Helper()
	p, err := command(s.now, "a")
	if err != nil {
		return // there is no a, or it has nothing to start
	}
	w := s.world()
	before := contents(w)
	carryOut(t, w, p)
	if lost := missing(before, contents(w), p); len(lost) > 0 {
		t.Fatalf("%s loses data: %v\n%s", name, lost, text(p))
	}
	clear(w.Trash) // without a record, only the next apply finds it
	end := String(w)
	for cut := 1; ; cut++ {
		w := s.world()
		if !carryOutSteps(t, w, p, cut) {
			return
		}
		clear(w.Trash)
		if again, err := command(w.State(), "a"); err == nil { // deleted to its end, it is not there any more
			carryOut(t, w, again)
		}
		if diff := cmp.Diff(end, String(w)); diff != "" {
			t.Fatalf("%s, cut after step %d of\n%s\nand given again: the end differs (-uncut +cut):\n%s", name, cut, text(p), diff)
		}
	}
}

// checkDataCommands cuts the commands for data, which are not the same when they
// are given again: after the next apply all data is still somewhere.
func (s *scene) checkDataCommands(t *testing.T) {
	t.Helper()
	for name, command := range map[string]func() (plan.Plan, error){
		"restore": func() (plan.Plan, error) { return plan.Restore(s.now, "a", "") },
		"import":  func() (plan.Plan, error) { return plan.Import(s.now, "a", "/backup.tar") },
	} {
		p, err := command()
		if err != nil {
			continue
		}
		for cut := 1; ; cut++ {
			w := s.world()
			before := contents(w)
			whole := !carryOutSteps(t, w, p, cut)
			next := s.next(w)
			carryOut(t, w, next)
			if lost := missing(before, contents(w), next); len(lost) > 0 {
				t.Fatalf("%s, cut after step %d, loses data: %v\n%s%s", name, cut, lost, text(p), text(next))
			}
			if whole {
				break
			}
		}
	}
}

// FuzzRollback fails every change at every step that disturbs, or later: the way
// back is refused nowhere, leads to what ran before with its data, and can itself
// be cut after any step.
func FuzzRollback(f *testing.F) {
	for seed := range uint64(*worlds / 3) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s := randomScene(seed)
		p, _ := plan.Around(s.want, s.now, s.options)
		if s.ambiguous() {
			return
		}
		for _, c := range p.Changes {
			for failed := range c.Steps {
				// Without a digest nothing tells the image that ran from the new one.
				if c.Previous != nil && c.Previous.Digest != "" && c.Steps[failed].Role() != plan.Record && c.Steps[failed].Role() != plan.Tidy && disturbed(c.Steps[:failed]) {
					s.checkRollback(t, c, failed)
				}
			}
		}
	})
}

func disturbed(steps []plan.Step) bool {
	return slices.ContainsFunc(steps, func(s plan.Step) bool { return s.Role() == plan.Disturb })
}

func (s *scene) checkRollback(t *testing.T, c plan.Change, failed int) {
	t.Helper()
	begun := func() *plan.World {
		w := s.world()
		carryOutSteps(t, w, plan.Plan{Changes: []plan.Change{c}}, failed)
		return w
	}
	w := begun()
	back, err := plan.Rollback(c, w.State())
	if err != nil {
		return // its image or a device is gone
	}
	carryOut(t, w, plan.Plan{Changes: []plan.Change{back}})
	was := c.Previous.Spec.Name // it comes back under this name, or goes on under the new one
	runs := c.Previous.Running && !w.Records[c.Workspace].StoppedByUser && !w.Records[was].StoppedByUser
	found := false
	for _, i := range w.Instances {
		again := c.Previous.Spec
		if i.Applied != nil && i.Applied.Name == c.Workspace {
			again.Name = c.Workspace
		}
		found = found || specText(i.Applied) == specText(&again) && (i.Task.Alive() || !runs)
	}
	before, after := s.world().Volumes[was], w.Volumes[was]
	if after == nil {
		after = w.Volumes[c.Workspace]
	}
	if before != nil && s.mounts(was) && !moves(c) && !maps.Equal(before, after) {
		t.Fatalf("the way back\n%s\nfrom step %d of\n%s\nends with other data: %v, not %v", text(plan.Plan{Changes: []plan.Change{back}}), failed+1, text(plan.Plan{Changes: []plan.Change{c}}), after, before)
	}
	if !found {
		t.Fatalf("after a failure at step %d of\n%s\nand\n%s\n%s does not run as before:\n%s", failed+1, text(plan.Plan{Changes: []plan.Change{c}}),
			text(plan.Plan{Changes: []plan.Change{back}}), c.Workspace, String(w))
	}
	clear(w.Trash) // the next apply removes what is left of it
	end := String(w)
	for cut := 1; cut < len(back.Steps); cut++ {
		w := begun()
		carryOutSteps(t, w, plan.Plan{Changes: []plan.Change{back}}, cut)
		again, err := plan.Rollback(c, w.State())
		if err != nil {
			t.Fatalf("cut after step %d, the way back is an error: %v", cut, err)
		}
		carryOut(t, w, plan.Plan{Changes: []plan.Change{again}})
		clear(w.Trash)
		if diff := cmp.Diff(end, String(w)); diff != "" {
			t.Fatalf("the way back\n%s\ncut after step %d: the end differs (-uncut +cut):\n%s", text(plan.Plan{Changes: []plan.Change{back}}), cut, diff)
		}
	}
}

// mounts reports whether the instance of a workspace has its data in the volume.
func (s *scene) mounts(workspace string) bool {
	return slices.ContainsFunc(s.now.Instances, func(c state.Instance) bool { return c.Volume == "/volumes/"+workspace })
}

// moves reports whether a change makes a volume of what a container keeps
// elsewhere.
func moves(c plan.Change) bool {
	return slices.ContainsFunc(c.Steps, func(s plan.Step) bool { _, ok := s.(plan.MigrateData); return ok })
}
