package decide

import (
	"fmt"
	"slices"
	"time"

	"carrel/spec"
)

// This file is about workspaces that get another name (metadata.renamedFrom). What
// the old one has moves in this order: the volume, the container (which is deleted,
// and made anew under the new name), the record. A change that was cut short is
// recognised by that: as long as the new one has no container and no record of one,
// it is the old one, wherever its volume is.

// known reports whether this host or the store has anything of a workspace.
func (s Subject) known() bool {
	return s.Record != nil || s.Instance != nil || s.hasData() || s.Network.Attached || !s.Data.Preserved.IsZero() || !s.Data.Trash.IsZero()
}

// made reports whether the workspace has an instance, or had one.
func (s Subject) made() bool { return s.Instance != nil || s.Record != nil && s.Record.Container != "" }

// here reports whether this host has the workspace, or a part of it that a run left.
func (s Subject) here() bool { return s.Record != nil || s.Instance != nil || s.Data.Volume }

// hasData reports whether there is data of the workspace that is in use, or was until
// its instance was lost.
func (s Subject) hasData() bool { return s.Data.Volume || s.ownLeftover() }

// recordedHere reports whether the workspace, which may be nil, is one of this set
// and host.
func (s *Subject) recordedHere(f Frame) bool {
	return s != nil && s.Record != nil && s.Record.Host == f.Now.Host && s.Record.Set == f.Set.Name
}

// takeOver gives a workspace what there is of the one that it is renamed from. It
// reports whether there is nothing more to decide: it is another host's, or an error.
func (f Frame) takeOver(d *Decision) (decided bool) {
	old := d.From
	if old == nil {
		return false
	}
	others := old.Record != nil && !old.recordedHere(f)
	errs := f.cannotRename(d.Subject)
	switch {
	case !old.known(), len(errs) > 0 && (others && d.here() || d.made() && old.Instance == nil && !old.hasData()):
		f.noRename(d)
		return false
	case others && old.Record.Set == f.Set.Name && d.Desired.Host == "":
		d.Counted = Elsewhere
		return true
	}
	if d.Errors = errs; len(errs) > 0 {
		return true
	}
	d.inherit()
	return false
}

// noRename is the end of a rename: it is complete, or there was nothing to rename.
// The field may stay in the spec.
func (f Frame) noRename(d *Decision) {
	if !d.From.known() && !d.Subject.known() {
		d.Notes = append(d.Notes, fmt.Sprintf("%s is renamed from %s, which this host does not have: it begins with new data", d.Name, d.From.Name))
	}
	d.From = nil
}

// cannotRename is why a workspace cannot become the one that is renamed from it.
func (f Frame) cannotRename(s Subject) (errs spec.Errors) {
	old, at := s.From, s.Desired.At("metadata.renamedFrom")
	switch r := old.Record; {
	case r != nil && r.Set != f.Set.Name:
		errs.Add(at, "take renamedFrom out", "workspace %s belongs to set %s, this is set %s", old.Name, r.Set, f.Set.Name)
	case r != nil && r.Host != f.Now.Host:
		errs.Add(at, "rename it there first, apply, and then move it", "workspace %s is on host %s, with its data", old.Name, r.Host)
	case s.made() && (old.Instance != nil || old.hasData()), s.Data.Volume && old.Data.Volume:
		errs.Add(at, fmt.Sprintf("take renamedFrom out to keep both; or, if %s needs no data of its own, delete it with carrel delete %s, which preserves that, and apply again", s.Name, s.Name),
			"workspace %s cannot become %s, because both exist: %s, and %s", old.Name, s.Name, f.place(*old), f.place(s))
	case old.CutShort() || old.unfinished():
		errs.Add(at, fmt.Sprintf("apply it once more under the name %s, and then rename it", old.Name), "the last change of workspace %s did not complete", old.Name)
	case f.mayDescribe(*old) != "":
		errs.Add(at, "load that too, so that it is known whether it still describes "+old.Name, "workspace %s cannot be renamed to %s: %s", old.Name, s.Name, f.mayDescribe(*old))
	}
	return errs
}

// mayDescribe is why a workspace that no loaded spec describes may be described all
// the same; "" when it is not.
func (f Frame) mayDescribe(old Subject) string {
	if old.Record == nil {
		return ""
	}
	switch source := old.Record.Source; {
	case source == "" || source == "-":
		return "" // no file does
	case f.Set.Doubts(source):
		return "there is an error in " + f.Set.Invalid[0]
	case f.Set.LeavesOut(source):
		return source + ", which described it, is left out by .carrelignore"
	case slices.Contains(f.Set.Empty, source):
		return source + ", which described it, describes nothing now"
	case !f.Set.Covers(source) && !old.Record.Gone && !f.Back:
		return source + ", which described it, was not loaded"
	}
	return ""
}

// place is where a workspace and its data are, in words.
func (f Frame) place(s Subject) string {
	switch {
	case s.Data.Volume:
		return fmt.Sprintf("%s has the volume %s/%s", s.Name, f.Now.VolumesDir, s.Name)
	case s.Instance != nil:
		return fmt.Sprintf("%s has container %s", s.Name, s.Instance.ID)
	case s.ownLeftover():
		return fmt.Sprintf("%s has root filesystem %s", s.Name, s.Data.Leftover)
	}
	return s.Name + " has a record"
}

// inherit makes what the old workspace has that of the new one, unless that was made
// already: then only what is left of the old one goes with it.
func (d *Decision) inherit() {
	old, anew := d.From, !d.made()
	d.Notes = append(d.Notes, old.notes...)
	if d.inWay == old.Instance {
		d.inWay = nil
	}
	if old.Record != nil && (d.Record == nil || d.Record.Container == "") {
		inherited := *old.Record
		inherited.Workspace = d.Name
		d.Record = &inherited
	}
	if old.Data.Preserved.After(d.Data.Preserved) {
		d.Data.Preserved, d.Data.Owner = old.Data.Preserved, old.Data.Owner
	}
	if !anew {
		return
	}
	d.renaming, d.Instance = true, old.Instance
	d.Data.Volume, d.Data.Place, d.Data.Trash = d.Data.Volume || old.Data.Volume, old.Data.Place, time.Time{}
	if old.ownLeftover() {
		d.Data.Leftover = old.Data.Leftover
	}
}

// rename decides about a workspace that gets another name.
func (f Frame) rename(d *Decision) {
	d.Action, d.Cost, d.Goal.Returns = ActionRename, CostReplace, true
	d.Because(fmt.Sprintf("%s is called %s now", d.From.Name, d.Name))
	run := d.Desired.AutoStart || d.RunAnyway || d.Instance != nil && d.Instance.Task.Alive()
	if was := d.Applied(); was != nil {
		d.Fields = compare(*was, *d.Desired)
	}
	f.makeAnew(d, run && !d.StoppedByUser())
}

// endRename decides to move what is left of the old workspace to one that is made
// already.
func (d *Decision) endRename() {
	if d.From == nil || d.renaming || len(d.Errors) > 0 {
		return
	}
	reason := fmt.Sprintf("what is left of %s becomes its own", d.From.Name)
	if !d.From.Data.Preserved.IsZero() {
		reason = fmt.Sprintf("the preserved data of %s becomes its own (carrel data restore %s makes that its volume)", d.From.Name, d.Name)
	}
	d.Counted = Uncounted
	d.then(ActionRename, CostNone, reason)
}
