package plan

import (
	"fmt"
	"slices"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// decide adds what is to be done about one workspace: the design's table.
func (p *planner) decide(s subject) {
	if s.want == nil {
		p.unwanted(s)
		return
	}
	if !p.ours(s) || !p.possible(s) {
		return
	}
	switch {
	case s.container == nil:
		p.create(s)
	case s.container.Applied == nil:
		p.adopt(s)
	default:
		p.bring(s, *s.container.Applied, Change{})
	}
}

// ours reports whether this plan may touch a wanted workspace. What belongs to
// another set or host is a fault, except a workspace that any host may have.
func (p *planner) ours(s subject) bool {
	at := s.want.At("metadata.name")
	here := s.want.Host == "" || s.want.Host == p.now.Host
	r, c := s.record, s.container
	switch {
	case r != nil && r.Host == p.now.Host && !here:
		p.faults.Add(s.want.At("host"), moving(*r, s.want.Host),
			"workspace %s is on this host, %s, with its data; its spec moves it to %s", s.name, p.now.Host, s.want.Host)
	case !here, r != nil && r.Host != p.now.Host && s.want.Host == "":
		p.plan.Elsewhere++
		if c != nil && c.Workspace != "" && c.Host == p.now.Host && r != nil {
			p.note("container %s says that it is workspace %s of this host, which belongs to host %s (carrel delete %s preserves its data)", c.ID, s.name, r.Host, s.name)
		}
	case r != nil && r.Set != p.want.Name:
		p.faults.Add(at, "choose another name, or delete it there",
			"workspace %s belongs to set %s, this is set %s", s.name, r.Set, p.want.Name)
	case r != nil && r.Host != p.now.Host:
		p.faults.Add(s.want.At("host"), moving(*r, p.now.Host),
			"workspace %s is on host %s, with its data; its spec moves it here, to %s", s.name, r.Host, p.now.Host)
	case c != nil && c.Workspace != "" && c.Set != p.want.Name:
		p.faults.Add(at, "choose another name, or delete it there",
			"container %s belongs to set %s, this is set %s", c.ID, c.Set, p.want.Name)
	case c != nil && c.Workspace != "" && c.Host != p.now.Host:
		p.faults.Add(at, "if the host was renamed, pass its old name with --host",
			"container %s was made for host %s, this is %s", c.ID, c.Host, p.now.Host)
	default:
		return true
	}
	return false
}

// moving says how a workspace comes to another host with its data: the other one
// does not begin before this one has given it up.
func moving(r state.Record, to string) string {
	keeps := "which keeps a copy there"
	if r.Applied != nil && r.Applied.PreserveData != spec.PreserveAlways {
		keeps = "which deletes it there"
	}
	return fmt.Sprintf("on %s: carrel stop %s, carrel data export %s; on %s: carrel data import %s FILE; on %s: carrel delete %s, %s; or set host back",
		r.Host, r.Workspace, r.Workspace, to, r.Workspace, r.Host, r.Workspace, keeps)
}

// possible reports whether this program can give the workspace what its spec
// asks for.
func (p *planner) possible(s subject) bool {
	before := len(p.faults)
	p.taken(s)
	p.resolve(s)
	for i, m := range s.want.Mounts {
		if p.now.Absent[m.Source] {
			p.faults.Add(s.want.At(at("mounts", i)+".source"), "create it, or correct the path", "this host has no %s", m.Source)
		}
	}
	c, at := s.container, s.want.At("metadata.name")
	switch {
	case c != nil && c.Unreadable != "":
		p.faults.Add(at, "", "container %s: %s", c.ID, c.Unreadable)
	case c != nil && c.Workspace == "" && c.Applied == nil && p.volumes[s.name]:
		p.faults.Add(at, "delete or rename that container", "container %s is not carrel's, and workspace %s has a volume on this host", c.ID, s.name)
	default:
		p.missing(s)
	}
	return len(p.faults) == before
}

// unwanted decides about a workspace of this set and host that no spec
// describes any more. It is taken away only when its description was: a tree
// that was not loaded, or not found, describes what it did.
func (p *planner) unwanted(s subject) {
	r := s.record
	stays := func(why, otherwise string) {
		p.note("%s stays: %s (%s carrel delete %s)", s.name, why, otherwise, s.name)
	}
	covered := p.want.Covers(r.Source)
	switch {
	case r.Source == "" && s.container == nil && !p.volumes[s.name]:
		p.remove(s, "no spec describes it any more") // there is only the record
	case r.Source == "":
		stays("its record does not say what described it", "describe it, or run")
	case r.Source == "-":
		stays("standard input described it", "run")
	case p.want.Doubts(r.Source):
		stays(r.Source+", which described it, has faults or cannot be read", "mend it, or run")
	case slices.Contains(p.want.Empty, r.Source):
		stays(r.Source+", which described it, is empty", "delete that file, or run")
	case !covered && r.Gone:
		stays(r.Source+", which described it, is gone, and nothing was loaded from there", "describe it, or run")
	case !covered:
		stays(r.Source+" describes it, and was not loaded", "load that too, or run")
	default:
		p.remove(s, "no spec describes it any more")
	}
}

// create makes a workspace that has no container.
func (p *planner) create(s subject) {
	change := Change{Action: ActionCreate, Cost: CostNone, First: s.record == nil}
	start := s.want.AutoStart || s.resume
	r := s.record
	switch {
	case r != nil && r.Container != "":
		change.because("container missing in containerd")
		start = start && !held(s)
	case r != nil && r.LastError != "":
		change.because("the last apply failed: " + r.LastError)
	default:
		change.because("new")
	}
	image, ok := p.image(s, &change)
	if !ok {
		return
	}
	change.Fields = described(*s.want)
	p.claim(&s, &change)
	p.build(s, &change, image, start)
	p.save(s, &change)
	p.add(s, change)
}

// claim adds the step that makes a workspace this host's, when it may be any
// host's: it comes before all others.
func (p *planner) claim(s *subject, change *Change) {
	if s.record != nil || s.want.Host != "" || !p.now.Shared {
		return
	}
	step := ClaimRecord{Workspace: s.name, Set: p.want.Name, Host: p.now.Host, Source: s.want.Source}
	change.Steps = slices.Insert(change.Steps, 0, Step(step))
	s.record = &state.Record{Workspace: s.name, Set: p.want.Name, Host: p.now.Host, Source: s.want.Source, Container: s.name, Applied: s.want, Version: 1}
	if s.container != nil {
		s.record.Container = s.container.ID
	}
}

// adopt makes a container that carrel did not make one of its own, then
// compares it.
func (p *planner) adopt(s subject) {
	c := s.container
	change := Change{Action: ActionAdopt, Cost: CostInPlace}
	change.because(fmt.Sprintf("container %s exists and has no owner", c.ID))
	found := spec.Default()
	if c.Found != nil {
		found = *c.Found
	}
	// What only carrel knows of cannot differ in a container that carrel has
	// not had yet.
	found.Name, found.Labels, found.Host = s.want.Name, s.want.Labels, s.want.Host
	found.ImagePullPolicy, found.AutoStart = s.want.ImagePullPolicy, s.want.AutoStart
	found.PreserveData, found.DataPath, found.Stop = s.want.PreserveData, s.want.DataPath, s.want.Stop
	p.claim(&s, &change)
	change.Steps = append(change.Steps, AdoptContainer{
		Container: c.ID, Set: p.want.Name, Host: p.now.Host, Volume: c.Volume, Spec: found,
	})
	p.bring(s, found, change)
}

// bring takes a workspace that has a container from the spec that was applied
// to the one that is wanted, on top of what the change already does.
func (p *planner) bring(s subject, applied spec.Workspace, change Change) {
	change.Fields = slices.Concat(compare(applied, *s.want), p.movedImage(s), p.drift(s))
	if costliest(change.Fields) == CostReplace {
		p.replace(s, applied, change)
		return
	}
	for _, f := range change.Fields {
		change.then(ActionUpdate, CostInPlace, f.Path+" changed")
	}
	if from, to := applied.Resources.Limits, s.want.Resources.Limits; from != to {
		change.Steps = append(change.Steps, UpdateResources{Container: s.container.ID, From: from, To: to})
	}
	if len(change.Fields) > 0 {
		change.Steps = append(change.Steps, UpdateLabels{
			Container: s.container.ID, Set: p.want.Name, Host: p.now.Host, Spec: *s.want,
		})
	}
	if p.lostVolume(s) {
		p.refill(s, &change)
	} else {
		p.run(s, &change)
	}
	if reason := stale(s); reason != "" && len(change.Fields) == 0 {
		change.then(ActionUpdate, CostNone, reason)
	}
	if change.Action == "" {
		p.plan.Unchanged++
		return
	}
	p.save(s, &change)
	p.add(s, change)
}

// lostVolume reports whether a change that was cut short took away the folder
// that the container mounts as its data.
func (p *planner) lostVolume(s subject) bool {
	return s.container.Applied != nil && p.bound(s.container, s.name) && !p.volumes[s.name]
}

// refill gives a container its data back. A task that has the lost folder
// mounted must be started anew to see it.
func (p *planner) refill(s subject, change *Change) {
	alive := s.container.Task.Alive()
	change.then(ActionRestart, CostRestart, "its volume is missing")
	if alive {
		change.Steps = append(change.Steps, stop(s))
	}
	p.volume(s, change, s.container.Image)
	if !held(s) && (s.want.AutoStart || s.resume || alive) {
		p.start(s, change, s.want.Network, s.container.ID)
	}
}

// run starts or stops the task as the spec and a person's hold want it.
func (p *planner) run(s subject, change *Change) {
	task := s.container.Task
	if held(s) {
		if task.Alive() {
			change.then(ActionStop, CostRestart, "held by carrel stop, but running")
			change.Steps = append(change.Steps, stop(s))
		} else if s.want.AutoStart {
			p.note("%s is held: a person stopped it (carrel start %s ends that)", s.name, s.name)
		}
		p.idle(s, change)
		return
	}
	switch {
	case task.Alive() && task.Status != state.TaskPaused:
		p.mend(s, change)
	case s.want.AutoStart || s.resume:
		change.then(ActionStart, CostNone, p.whyNotRunning(task))
		p.start(s, change, s.want.Network, s.container.ID)
	default:
		p.idle(s, change)
	}
}

// idle takes the network away from a workspace that does not run and shall not:
// its address is free for others.
func (p *planner) idle(s subject, change *Change) {
	if p.networks[s.name] != nil {
		change.then(ActionUpdate, CostNone, "it does not run, and its network is still attached")
		p.detach(s, change)
	}
}

func (p *planner) whyNotRunning(t state.Task) string {
	switch t.Status {
	case state.TaskStopped:
		return fmt.Sprintf("exited %d%s%s", t.ExitCode, t.ShortOfMemory(), p.ago(t.ExitedAt))
	case state.TaskPaused:
		return "its task is paused"
	case state.TaskCreated:
		return "its task was made and never started"
	default:
		return "it has no task"
	}
}

func (p *planner) ago(at time.Time) string {
	if at.IsZero() || at.After(p.now.Time) {
		return ""
	}
	return " " + Since(p.now.Time.Sub(at)) + " ago"
}

// stale is why the record of a workspace whose container is as wanted must be
// written all the same; "" when it need not.
func stale(s subject) string {
	r := s.record
	switch {
	case r == nil:
		return "record missing in the store"
	case r.LastError != "":
		return "the last apply failed: " + r.LastError
	case r.Source != s.want.Source && r.Gone && s.want.Source != "":
		return s.want.Source + " describes it now"
	case r.Container != s.container.ID:
		return fmt.Sprintf("the record names container %q", r.Container)
	case r.Applied == nil || len(compare(*r.Applied, *s.want)) > 0:
		return "the record has an older spec than the container"
	}
	return ""
}

// held reports whether a person stopped the workspace and its spec has not
// changed since.
func held(s subject) bool {
	return s.record != nil && s.record.StoppedByUser && s.record.Applied != nil &&
		(s.want == nil || len(compare(*s.record.Applied, *s.want)) == 0)
}

// then adds a reason; the first action named is the change's own.
func (c *Change) then(action Action, cost Cost, reason string) {
	if c.Action == "" {
		c.Action = action
	}
	c.Cost = costlier(c.Cost, cost)
	c.because(reason)
}

func (c *Change) because(reason string) {
	if !slices.Contains(c.Reasons, reason) {
		c.Reasons = append(c.Reasons, reason)
	}
}

// add adds a change. What it does is written down at its end.
func (p *planner) add(s subject, change Change) {
	change.Workspace, change.Set, change.Host, change.wish = s.name, p.want.Name, p.now.Host, s.want
	change.Recorded = s.record != nil || s.want != nil
	if !NotesHistory(change.Steps[len(change.Steps)-1]) {
		change.Steps = append(change.Steps, NoteHistory{Workspace: s.name})
	}
	p.plan.Changes = append(p.plan.Changes, change)
}
