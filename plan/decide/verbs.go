package decide

import (
	"fmt"
	"strings"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// Stop decides to end the process of a workspace. It stays stopped until a
// person starts it or its spec changes.
func (d *Decision) Stop() {
	if d.StoppedByUser() && (d.Instance == nil || !d.Instance.Task.Alive()) && !d.Network.Attached {
		d.Counted = Unchanged
		return
	}
	d.Action, d.Cost = ActionStop, CostRestart
	d.Goal = Goal{Record: RecordStopped, Process: StopProcess, KeepTrash: true}
}

// Start decides to start the process of a workspace, also of one that a person
// stopped.
func (d *Decision) Start() {
	switch {
	case d.cannotStart():
	case !d.StoppedByUser() && d.Instance.Task.Status == state.TaskRunning:
		d.Counted = Unchanged
	default:
		d.Action, d.Cost = ActionStart, CostNone
		d.Goal = Goal{Record: RecordStarted, Process: RunProcess, KeepTrash: true}
		if d.Instance.Task.Status == state.TaskRunning {
			d.Goal.Process = KeepProcess
		}
	}
}

// Restart decides to restart the process of a workspace.
func (d *Decision) Restart() {
	if !d.cannotStart() {
		d.Action, d.Cost = ActionRestart, CostRestart
		d.Goal = Goal{Record: RecordStarted, Process: RestartProcess, KeepTrash: true}
	}
}

// Pause decides to end the process of a workspace for a while: if nobody resumes
// it, the next apply starts it.
func (d *Decision) Pause() {
	if d.Instance == nil || !d.Instance.Task.Alive() {
		d.Counted = Unchanged
		return
	}
	if d.cannotStart() { // afterwards
		return
	}
	d.Action, d.Cost, d.Goal = ActionStop, CostRestart, Goal{Process: PauseProcess, KeepTrash: true}
	d.Because("its data is copied")
}

// Resume decides to start the process of a workspace that was paused.
func (d *Decision) Resume() {
	if !d.cannotStart() {
		d.Action, d.Cost, d.Goal = ActionStart, CostNone, Goal{Process: RunProcess, KeepTrash: true}
		d.Because("its data was copied")
	}
}

// Delete decides to delete a workspace, whatever the specs say: a spec that
// still describes it creates it again at the next apply. Of a volume that no
// workspace has, it makes preserved data.
func (d *Decision) Delete() {
	if !d.exists() {
		d.Action, d.Cost = ActionClean, CostNone
		d.Because("no workspace has its volume")
		d.Goal = Goal{Process: StopProcess, Volume: VolumeGoal{Away: PreserveVolume}}
		return
	}
	d.remove("")
	if r := d.Record; r != nil && strings.HasPrefix(r.Source, "/") && !r.Gone {
		d.Notes = append(d.Notes, fmt.Sprintf("%s is still there: if it describes %s, the next apply, or the agent that watches it, creates it again (remove it there first, or use carrel stop)", r.Source, d.Name))
	}
}

// cannotStart reports, with an error of the decision, that there is nothing to
// start, or not the data that it needs.
func (d *Decision) cannotStart() bool {
	switch {
	case d.Instance == nil:
		d.Errors.Add(spec.Pos{}, "apply its spec, which creates one", "workspace %s has no container", d.Name)
	case d.Data.Place == InVolume && !d.Data.Volume:
		d.Errors.Add(spec.Pos{}, "carrel plan says what can be done", "the volume of workspace %s, %s, is missing", d.Name, d.Instance.Volume)
	}
	return len(d.Errors) > 0
}

// exists reports whether this host has the workspace. Without a record and an
// instance, nothing would say whose a volume is.
func (d *Decision) exists() bool { return d.Record != nil || d.Instance != nil }

// Restore decides to make the newest of some preserved data the volume.
func (d *Decision) Restore(kept []state.Preserved) {
	if !d.exists() {
		d.Errors.Add(spec.Pos{}, "apply its spec first: the newest data that its set preserved returns by itself, and then data restore takes other data",
			"this host has no workspace %s whose volume the data could be", d.Name)
		return
	}
	d.swap(VolumeGoal{From: FromPreserved, Chosen: kept[len(kept)-1:]})
}

// Import decides to make an archive the volume. It is unpacked before anything
// is stopped. Of a workspace that is not there yet, it becomes preserved data: the
// workspace begins with that, and until then it can be listed and deleted.
func (d *Decision) Import(file string) {
	goal := VolumeGoal{Extract: file, From: FromArchive, Aside: !d.exists()}
	d.swap(goal)
	if goal.Aside {
		d.Because("there is no such workspace here yet: it begins with this data when its spec is applied")
	}
}

// Discard decides to delete preserved data.
func (d *Decision) Discard(kept []state.Preserved) {
	if d.CutShort() || d.unfinished() {
		d.Errors.Add(spec.Pos{}, "apply its spec first, which completes that", "the last change of %s did not complete, and its data may be needed", d.Name)
		return
	}
	d.Action, d.Cost = ActionDiscard, CostDataAtRisk
	d.Goal.Volume = VolumeGoal{Forget: true, Chosen: kept}
}

// swap puts other data in the place of the volume, while the process does not
// run. The volume is preserved.
func (d *Decision) swap(goal VolumeGoal) {
	if d.Data.Place == Inside || d.Data.Place == InFolder {
		d.Errors.Add(spec.Pos{}, "change its spec so that it is replaced, which moves its data into a volume",
			"container %s of workspace %s does not have its data in a volume", d.Instance.ID, d.Name)
		return
	}
	goal.Recover, goal.Move, goal.Away = d.CutShort() || d.unfinished(), d.onlyLeftover(), PreserveVolume
	d.Action, d.Cost, d.Goal = ActionSwap, CostNone, Goal{Volume: goal, Returns: true}
	if d.Instance != nil && d.Instance.Task.Alive() {
		d.Cost, d.Goal.Process = CostRestart, RestartProcess
	}
}

// Choose is the preserved data of the workspace, oldest first: all of it, or
// that of a moment, which is written as RFC 3339 to any precision. It is nil,
// and the decision has the error, when there is none.
func (d *Decision) Choose(all []state.Preserved, moment string) []state.Preserved {
	var own, chosen []state.Preserved
	var times []string
	for _, p := range all {
		if p.Workspace != d.Name {
			continue
		}
		own = append(own, p)
		times = append(times, p.At.UTC().Format(time.RFC3339Nano))
		if moment != "" && isMoment(p.At, moment) {
			chosen = append(chosen, p)
		}
	}
	switch {
	case len(own) == 0 && d.Data.Volume && !d.exists():
		d.Errors.Add(spec.Pos{}, "carrel delete "+d.Name+" preserves it", "no data of %s is preserved, but a volume is there that no workspace has", d.Name)
	case len(own) == 0:
		d.Errors.Add(spec.Pos{}, "carrel data ls lists all", "no data of %s is preserved", d.Name)
	case moment == "":
		return own
	case len(chosen) == 0:
		d.Errors.Add(spec.Pos{}, "there is "+strings.Join(times, ", "), "no data of %s was preserved at %s", d.Name, moment)
	case len(chosen) > 1:
		d.Errors.Add(spec.Pos{}, "write one of "+strings.Join(times, ", "), "more data of %s than one was preserved at %s", d.Name, moment)
	default:
		return chosen
	}
	return nil
}

// isMoment reports whether a time is the one that a person wrote, to the
// precision in which it was written.
func isMoment(t time.Time, written string) bool {
	wanted, err := time.Parse(time.RFC3339Nano, written)
	if err != nil {
		return false
	}
	precision := time.Second
	if _, fraction, ok := strings.Cut(written, "."); ok {
		for range strings.TrimRight(fraction, "Zz") {
			precision /= 10
		}
	}
	return t.Truncate(max(precision, 1)).Equal(wanted)
}
