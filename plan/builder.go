package plan

import (
	"fmt"

	"carrel/plan/decide"
	"carrel/plan/state"
)

// builder makes the change of one workspace. It carries the world along, and it
// owns what every change keeps to: a claim comes first, the trash is emptied
// when the workspace is whole, and the record, or else the history, is written
// last.
type builder struct {
	decide.Decision
	frame  decide.Frame
	world  *World
	change Change
	moved  string // the folder in the root filesystem that became the volume; "" when none did
	err    error  // of the first step that the world refused
}

func newBuilder(f decide.Frame, d decide.Decision, w *World) *builder {
	b := &builder{Decision: d, frame: f, world: w, change: Change{
		Workspace: d.Name, Set: f.Set.Name, Host: f.Now.Host, Action: d.Action, Cost: d.Cost, Fields: d.Fields,
		Recorded: d.Record != nil || d.Desired != nil, First: d.Action == decide.ActionCreate && d.Record == nil, desired: d.Desired, recorded: d.Record,
	}}
	if d.Record != nil {
		b.change.LastError = d.Record.LastError
	}
	b.change.Regardless = d.Goal.Record == decide.RecordStopped || d.Goal.Record == decide.RecordStarted
	if d.From != nil {
		b.change.RenamedFrom = d.From.Name
	}
	return b
}

// add adds a step, and does it to the world.
func (b *builder) add(s Step) {
	b.change.Steps = append(b.change.Steps, s)
	if err := b.world.Do(s); err != nil && b.err == nil {
		b.err = fmt.Errorf("%s: %w", s, err)
	}
}

// remember keeps what runs now, if the change takes that down.
func (b *builder) remember() {
	c := b.Instance
	if !b.Goal.Returns || c == nil || !b.Goal.Replaces() && !c.Task.Alive() {
		return
	}
	applied := c.Applied
	if b.Goal.Adopt != nil {
		applied = b.Goal.Adopt
	}
	if applied == nil {
		return
	}
	b.change.Previous = &Previous{Spec: *applied, Image: c.Image, Digest: c.Digest, Running: c.Task.Alive(), NeverRan: b.NeverRan()}
	if b.CutShort() {
		b.change.Previous.Discarded = b.Data.Trash
	}
}

// save writes a record over the version that the world has.
func (b *builder) save(r state.Record) {
	r.Workspace, r.Set, r.Host = b.Name, b.frame.Set.Name, b.frame.Now.Host
	r.Version = b.world.Records[b.Name].Version
	b.add(SaveRecord{Record: r})
}

// finish adds what stands at the end of every change.
func (b *builder) finish() (Change, error) {
	if len(b.frame.Named) == 0 && b.world.mayClean(b.Name, b.frame.Set.Name) {
		b.add(CleanNetwork{Workspace: b.Name})
	}
	if !b.Goal.KeepTrash && len(b.world.Trash[b.Name]) > 0 {
		b.add(EmptyTrash{Workspace: b.Name})
	}
	switch {
	case b.Goal.Record == decide.SaveRecord:
		r := state.Record{Source: b.Desired.Source, Container: b.container(), Applied: b.Desired, StoppedByUser: b.StoppedByUser()}
		if b.Record != nil && r.Source == "" { // the way back comes from no file
			r.Source = b.Record.Source
		}
		b.save(r)
	case b.Goal.Record == decide.DeleteRecord && b.Record != nil:
		b.add(DeleteRecord{Workspace: b.Name, Version: b.Record.Version})
	default:
		b.add(NoteHistory{Workspace: b.Name})
	}
	if b.From != nil && b.From.Record != nil {
		b.add(DeleteRecord{Workspace: b.From.Name, Version: b.From.Record.Version})
	}
	b.change.Reasons = b.Reasons
	return b.change, b.err
}

// container is the id of the container after the change.
func (b *builder) container() string {
	if b.Instance == nil || b.Goal.Instance == decide.MakeInstance {
		return b.Name
	}
	return b.Instance.ID
}
