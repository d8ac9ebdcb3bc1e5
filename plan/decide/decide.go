// Package decide says what is to become of workspaces, in words that every
// engine has: an instance, its process, its data, its network, its record. It
// knows no steps and no engine: package plan turns its decisions into steps.
//
// Pair brings together what is desired, recorded and observed of each workspace:
// a Subject. The engine adds what its data and its network are. Decide says what
// is to be done about it, and why: a Decision. What a person asks for with a
// command (verbs.go) is a Decision too.
//
// Errors and notes are results: functions return them, and none stores them
// elsewhere.
package decide

import (
	"cmp"
	"fmt"
	"slices"

	"carrel/plan/state"
	"carrel/spec"
)

// Decision is what is to become of one workspace.
type Decision struct {
	Subject
	Action  Action // "" when there is nothing to do
	Cost    Cost
	Fields  []Field
	Reasons []string
	Errors  spec.Errors // why nothing can be done about it; then it is left as it is
	Notes   []string
	Stay    *Stay // why it is not deleted, though no spec describes it; nil when that is not so
	Counted Count
	Goal    Goal
}

// Count is how a workspace is counted in a plan, beside its change.
type Count int

// The counts.
const (
	Uncounted Count = iota
	Unchanged
	Elsewhere // another host has it
)

// Goal is what a decision wants from an engine. The zero value wants nothing.
type Goal struct {
	Adopt    *spec.Workspace // the instance has no owner and is taken over; this spec describes how it is now
	Fetch    Fetch
	Instance InstanceGoal
	Volume   VolumeGoal
	Process  ProcessGoal
	Record   RecordGoal

	Redescribe bool // the description of the instance becomes again what it was made with; a process that ends does so before

	Returns   bool // when the change fails, what runs now comes back
	KeepTrash bool // the change is not about data: what was discarded is left
}

// Replaces reports whether the instance that there is goes.
func (g Goal) Replaces() bool { return g.Instance == MakeInstance || g.Instance == DeleteInstance }

// Fetch is what brings the desired image to the host.
type Fetch int

// The ways.
const (
	NoFetch Fetch = iota
	FetchPull
	FetchImport
)

// InstanceGoal is what becomes of the instance.
type InstanceGoal int

// The goals.
const (
	KeepInstance   InstanceGoal = iota
	UpdateInstance              // in place: labels, limits, the kept spec
	MakeInstance                // a new one from the desired spec; the old one is deleted
	DeleteInstance
)

// ProcessGoal is what becomes of the process of the instance.
type ProcessGoal int

// The goals.
const (
	KeepProcess    ProcessGoal = iota
	RunProcess                 // with its network
	RestartProcess             // end it, then run it
	StopProcess                // end it, and give its address back
	PauseProcess               // end it for a moment, and keep its address
	RepairNetwork              // while it runs
)

// RecordGoal is what becomes of the record.
type RecordGoal int

// The goals.
const (
	NoRecord      RecordGoal = iota // the history alone is written
	SaveRecord                      // when all else is done
	RecordStopped                   // first: stopped by the user
	RecordStarted                   // first: not stopped by the user any more
	DeleteRecord
)

// Decide says what is to become of a workspace: the table of what a plan
// decides, by whether it is desired, recorded, and has an instance.
func Decide(f Frame, s Subject) Decision {
	d := Decision{Subject: s, Notes: slices.Clone(s.notes)}
	switch {
	case s.orphan:
		f.orphaned(&d)
	case s.Desired != nil:
		f.wanted(&d)
	case s.Record != nil:
		f.unwanted(&d)
	}
	if d.Action == "" && len(d.Errors) == 0 {
		f.clean(&d)
	}
	return d
}

// wanted decides about a workspace that a spec describes.
func (f Frame) wanted(d *Decision) {
	if f.others(d) || f.takeOver(d) {
		d.From = nil // it stays as it is
		return
	}
	d.Errors = f.impossible(d.Subject)
	if len(d.Errors) > 0 {
		return
	}
	switch c := d.Instance; {
	case d.renaming:
		f.rename(d)
	case c == nil:
		f.create(d)
	case c.Applied == nil:
		f.adopt(d)
	default:
		f.compare(d, *c.Applied)
	}
	d.endRename()
}

// create decides about a workspace that has no instance.
func (f Frame) create(d *Decision) {
	d.Action, d.Cost, d.Fields = ActionCreate, CostNone, described(*d.Desired)
	switch r := d.Record; {
	case r != nil && r.Container != "":
		d.Because("its container is missing")
	case r != nil && r.LastError != "":
		d.Because(LastApplyFailed)
	default:
		d.Because("new")
	}
	f.makeAnew(d, !d.StoppedByUser() && (d.Desired.AutoStart || d.RunAnyway))
}

// adopt decides about an instance without an owner: it becomes one of this
// program's, then it is compared.
func (f Frame) adopt(d *Decision) {
	d.Action, d.Cost = ActionAdopt, CostInPlace
	d.Because(fmt.Sprintf("container %s exists and has no owner", d.Instance.ID))
	found, w := spec.Default(), d.Desired
	if d.Instance.Found != nil {
		found = *d.Instance.Found
	}
	// What only carrel knows of cannot differ in an instance that it did not
	// have yet.
	found.Name, found.Labels, found.Host = w.Name, w.Labels, w.Host
	found.ImagePullPolicy, found.AutoStart = w.ImagePullPolicy, w.AutoStart
	found.PreserveData, found.DataPath, found.Stop = w.PreserveData, w.DataPath, w.Stop
	d.Goal.Adopt = &found
	f.compare(d, found)
}

// compare decides about a workspace that has an instance of an applied spec.
func (f Frame) compare(d *Decision, applied spec.Workspace) {
	image, note := d.movedImage(applied, f.Back)
	if note != "" {
		d.Notes = append(d.Notes, note)
	}
	d.Notes = append(d.Notes, d.outdated()...)
	drift := f.drift(d.Subject, applied)
	d.Fields = slices.Concat(compare(applied, *d.Desired), image, d.changedDevices(f.Now.Devices), d.damage(), drift)
	// During a rollback, an instance that was made after data was discarded belongs
	// to the failed change.
	discarded := f.Back && !d.Data.Trash.IsZero() && !d.Instance.CreatedAt.Before(d.Data.Trash)
	if costOf(d.Fields) == CostReplace || discarded {
		f.replace(d, applied)
		return
	}
	d.update(d.Fields[:len(d.Fields)-len(drift)])
	if d.Data.Place == InVolume && !d.Data.Volume {
		f.refill(d)
	} else {
		f.run(d)
	}
	d.update(drift) // last: to start a process is more than to put right what was applied
	if reason := d.staleRecord(); reason != "" && len(d.Fields) == 0 {
		d.then(ActionUpdate, CostNone, reason)
	}
	if d.Record == nil && d.Data.Place == InFolder && d.Instance.Applied != nil {
		d.Notes = append(d.Notes, fmt.Sprintf("the data of %s is in %s, and not in this state dir (is --state-dir right?)", d.Name, d.Instance.Volume))
	}
	if d.Action == "" {
		d.Counted = Unchanged
		return
	}
	d.Goal.Record = SaveRecord
}

// replace decides about an instance that cannot become what is desired.
func (f Frame) replace(d *Decision, applied spec.Workspace) {
	d.Action, d.Cost, d.Goal.Returns = ActionReplace, CostReplace, true
	for _, field := range d.Fields {
		d.Because(field.Reason())
	}
	f.makeAnew(d, !d.StoppedByUser() && (d.Desired.AutoStart || d.RunAnyway || d.Instance.Task.Alive()))
	never := applied.PreserveData == spec.PreserveNever && d.Desired.PreserveData == spec.PreserveNever
	if d.Data.Place == InVolume && never && !f.Back {
		d.Goal.Volume = d.fillAnew()
		d.Goal.Volume.Away = DiscardVolume
		d.dataLoss(spec.PreserveNever)
	}
}

// makeAnew has an instance made from the desired spec.
func (f Frame) makeAnew(d *Decision, run bool) {
	d.Goal.Instance, d.Goal.Record, d.Goal.Process = MakeInstance, SaveRecord, StopProcess
	if run {
		d.Goal.Process = RunProcess
	}
	switch d.Data.Place {
	case Inside:
		d.otherDataPath()
		d.Goal.Volume = VolumeGoal{Move: true}
	case InFolder:
		d.Goal.Volume = VolumeGoal{Move: true}
	default:
		d.Goal.Volume = f.fill(d)
	}
	f.fetchImage(d)
}

// refill gives an instance its volume back, which a change that was cut short took
// away. A process that has the lost one mounted has to be restarted to see it.
func (f Frame) refill(d *Decision) {
	d.then(ActionRestart, CostRestart, "its volume is missing")
	d.Goal.Volume = f.fill(d)
	alive := d.Instance.Task.Alive()
	switch {
	case d.StoppedByUser():
		d.Goal.Process = StopProcess
	case alive:
		d.Goal.Process = RestartProcess
	case d.Desired.AutoStart || d.RunAnyway:
		d.Goal.Process = RunProcess
	default:
		d.rest()
	}
}

// run decides about the process of an instance that stays.
func (f Frame) run(d *Decision) {
	task := d.Instance.Task
	switch {
	case d.StoppedByUser() && task.Alive():
		d.then(ActionStop, CostRestart, "stopped by user, but running")
		d.Goal.Process = StopProcess
	case d.StoppedByUser():
		if d.Desired.AutoStart {
			d.Notes = append(d.Notes, fmt.Sprintf("%s is stopped by user (start it with carrel start %s)", d.Name, d.Name))
		}
		d.rest()
	case task.Alive() && task.Drifted && d.Instance.Redescribed():
		d.then(ActionRestart, CostRestart, "its process was started with what was changed on the host")
		d.Goal.Process = RestartProcess
	case task.Alive() && task.Status != state.TaskPaused:
		d.repair()
	case d.Desired.AutoStart || d.RunAnyway:
		d.then(ActionStart, CostNone, whyNotRunning(task, f.Now.Time))
		d.Goal.Process = RunProcess
	default:
		d.rest()
	}
}

// rest takes the network away from a workspace that does not run and is not to
// run: its address is free for others.
func (d *Decision) rest() {
	if d.Network.Attached {
		d.then(ActionUpdate, CostNone, "it does not run, and its network is still attached")
		d.Goal.Process = StopProcess
	}
}

// repair repairs the network of a process that runs: in place if that is
// possible, else with a restart.
func (d *Decision) repair() {
	if d.Instance.Task.Status != state.TaskRunning {
		return
	}
	switch n := d.Network; {
	case d.Desired.Network.Mode != spec.NetworkCNI && n.Attached:
		d.then(ActionRepair, CostInPlace, "a network is attached that its spec does not have")
		d.Goal.Process = RepairNetwork
	case d.Desired.Network.Mode != spec.NetworkCNI:
	case !n.Attached:
		d.then(ActionRestart, CostRestart, "its network is not attached")
		d.Goal.Process = RestartProcess
	case Ports(n.Ports) != Ports(d.Desired.Network.Ports):
		d.then(ActionRestart, CostRestart, "its network publishes other ports")
		d.Goal.Process = RestartProcess
	case n.Restart:
		d.then(ActionRestart, CostRestart, n.Broken)
		d.Goal.Process = RestartProcess
	case n.Broken != "" || n.Stale != "":
		d.then(ActionRepair, CostInPlace, cmp.Or(n.Broken, n.Stale))
		d.Goal.Process = RepairNetwork
	}
}

// orphaned decides about an instance that no spec and no record knows.
func (f Frame) orphaned(d *Decision) {
	if !f.Options.PruneOrphans {
		d.Notes = append(d.Notes, orphaned(d.Instance))
		return
	}
	d.remove("an orphan: no spec and no record knows it")
}

func orphaned(c *state.Instance) string {
	return fmt.Sprintf("container %s says that it is workspace %s of this set, but no spec and no record knows it (delete it with --prune-orphans, which preserves its data)", c.ID, c.Workspace)
}

// unwanted decides about a workspace of this set and host that no spec describes
// any more. It is deleted only if its file was loaded and does not describe it.
// What was not loaded counts as unchanged.
func (f Frame) unwanted(d *Decision) {
	if why, several, otherwise := f.stays(d.Subject); why != "" {
		d.Stay = &Stay{d.Name, why, several, otherwise}
		return
	}
	d.remove("no spec describes it any more")
}

// remove decides to delete a workspace.
func (d *Decision) remove(reason string) {
	d.Action, d.Cost, d.Goal.Returns = ActionDelete, CostRemoval, true
	if reason != "" {
		d.Because(reason)
	}
	if d.Instance == nil {
		d.Action = ActionRemoveRecord
		d.Because("its container is missing")
	}
	d.Goal.Instance, d.Goal.Process, d.Goal.Record = DeleteInstance, StopProcess, DeleteRecord
	d.Goal.Volume = d.setAside()
	if d.Data.Place == InFolder {
		d.Notes = append(d.Notes, fmt.Sprintf("the data of %s stays in %s", d.Name, d.Instance.Volume))
	}
}

// clean removes what an earlier run left of a workspace that needs nothing else:
// a network of one that is gone, and discarded data that nothing brings back.
func (f Frame) clean(d *Decision) {
	if r := d.Record; r != nil && (r.Set != f.Set.Name || r.Host != f.Now.Host) {
		return
	}
	gone := d.Desired == nil && d.Record == nil && d.Instance == nil
	if gone && d.Network.Attached && d.Network.Owner == f.Set.Name {
		d.then(ActionClean, CostNone, "its workspace is gone, and its network is still attached")
		d.Goal.Process = StopProcess
	}
	if d.Network.Remains {
		d.then(ActionClean, CostNone, "an earlier network left something, which may be removed now")
	}
	d.Goal.KeepTrash = d.CutShort() || d.unfinished() // it may return
	if !d.Data.Trash.IsZero() && !d.Goal.KeepTrash {
		d.then(ActionClean, CostNone, "its discarded data is not removed yet")
	}
}
