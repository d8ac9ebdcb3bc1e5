package decide

import (
	"fmt"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// Data is what the host has of the data of a workspace.
type Data struct {
	Volume bool // it is there
	Place  Place

	Preserved time.Time // the newest that the set may restore; zero when there is none
	Owner     string    // the set of that
	Others    string    // another set that data of this name was preserved for; "" when none was
	Leftover  string    // what is left of an instance that is gone and may have its data; "" when nothing is
	Trash     time.Time // the newest discarded data; zero when there is none
}

// Place is where an instance keeps its data.
type Place int

// The places.
const (
	Nowhere  Place = iota // there is no instance
	InVolume              // it mounts the volume of the workspace
	InFolder              // it mounts another folder of the host
	Inside                // in the instance itself: deleting that deletes it
)

// VolumeGoal is what becomes of the data of a workspace, in the order in
// which it is done.
type VolumeGoal struct {
	Extract string            // an archive is unpacked first, beside the volume
	Move    bool              // what the instance, or what is left of it, keeps elsewhere becomes the volume; a volume that is there is preserved
	Recover bool              // what a killed change discarded becomes the volume; a volume that is there is preserved
	Away    Away              // what becomes of the volume
	From    Source            // what the volume is made from
	Aside   bool              // what it is made from is preserved: there is no workspace yet that could have it
	Forget  bool              // the chosen preserved data is deleted
	Chosen  []state.Preserved // what is restored, or deleted
}

// Away is what becomes of a volume.
type Away int

// The ways.
const (
	KeepVolume     Away = iota
	PreserveVolume      // it is kept aside, until the workspace returns
	DiscardVolume       // it is deleted, once nothing can need it
)

// Source is what a volume is made from.
type Source int

// The sources.
const (
	NoSource      Source = iota // the volume stays as it is
	FromTrash                   // discarded by a change that did not complete
	FromPreserved               // the preserved data that was chosen
	FromLeftover                // what is left of an instance that is gone
	FromArchive                 // what was unpacked
	FromImage
)

// fill says what the volume of a workspace is made from, if it is not there. On
// the way back from a change that failed, data that it discarded returns.
func (f Frame) fill(d *Decision) VolumeGoal {
	switch {
	case d.CutShort(), f.Back && !d.Data.Trash.IsZero():
		return VolumeGoal{From: FromTrash}
	case d.unfinished() && d.keepsDiscarded():
		d.Because("its discarded data returns: the change that discarded it did not complete")
		if d.Data.Volume { // of that change, or of somebody who imported data since
			return VolumeGoal{Away: PreserveVolume, From: FromTrash}
		}
		return VolumeGoal{From: FromTrash}
	case d.unfinished():
		d.dataLoss(spec.PreserveNever) // as the change would have done
		if d.Data.Volume {
			return VolumeGoal{}
		}
		return d.fillAnew()
	case d.Data.Volume:
		return VolumeGoal{}
	}
	return d.fillAnew()
}

// fillAnew says what a volume is made from that is not there.
func (d *Decision) fillAnew() VolumeGoal {
	switch {
	case d.ownLeftover():
		d.otherDataPath()
		return VolumeGoal{From: FromLeftover}
	case !d.Data.Preserved.IsZero():
		d.Because("its preserved data returns")
		return VolumeGoal{From: FromPreserved, Chosen: []state.Preserved{{Workspace: d.Name, Set: d.Data.Owner, At: d.Data.Preserved}}}
	case d.Data.Leftover != "":
		return VolumeGoal{From: FromLeftover}
	case d.Data.Others != "":
		d.Notes = append(d.Notes, fmt.Sprintf("%s starts with new data: what was preserved of it is of set %s (carrel data restore %s makes that its data)", d.Name, d.Data.Others, d.Name))
	}
	return VolumeGoal{From: FromImage}
}

// ownLeftover reports whether what is left of an instance counts more than preserved
// data: the record says that it is of this workspace, and the preserved data is older.
// Newer data is what an earlier run has made of it.
func (s Subject) ownLeftover() bool {
	left, r := s.Data.Leftover, s.Record
	return left != "" && r != nil && left == r.Container && !s.Data.Preserved.After(r.CreatedAt)
}

// onlyLeftover reports whether the data of a workspace is in nothing but what is left
// of its instance.
func (s Subject) onlyLeftover() bool { return s.Instance == nil && !s.Data.Volume && s.ownLeftover() }

// unfinished reports whether data was discarded by a change that did not complete,
// and whose instance is gone.
func (s Subject) unfinished() bool {
	return s.Instance == nil && s.Record != nil && s.Record.Container != "" && s.Record.Applied != nil && s.Data.Trash.After(s.Record.UpdatedAt)
}

// keepsDiscarded reports whether the data of an unfinished change is wanted after
// all: the spec is the one that had it, or does not give data up.
func (s Subject) keepsDiscarded() bool {
	was := *s.Record.Applied
	return len(compare(was, *s.Desired)) == 0 || was.PreserveData != spec.PreserveNever || s.Desired.PreserveData != spec.PreserveNever
}

// CutShort reports whether a change that did not complete discarded the volume
// which the instance still mounts.
func (s Subject) CutShort() bool {
	return s.Data.Place == InVolume && !s.Data.Volume && s.Data.Trash.After(s.Instance.CreatedAt)
}

// volumeLost reports whether a workspace had a volume that is now missing, and no
// preserved or discarded data newer than its instance explains that. The disk may
// not be mounted: an empty volume, or old data, in its place would look like the
// real one.
func (s Subject) volumeLost() bool {
	var since time.Time
	switch c, r := s.Instance, s.Record; {
	case s.Data.Volume:
		return false
	case c != nil && s.Data.Place == InVolume:
		since = c.CreatedAt
	case c == nil && r != nil && r.Container != "" && r.Applied != nil && s.Data.Leftover == "":
		since = r.CreatedAt
	default:
		return false
	}
	return !s.Data.Preserved.After(since) && !s.Data.Trash.After(since)
}

// setAside says what becomes of the data of a workspace that is deleted. The
// policy that counts is the one that was applied: deleting a spec cannot take a
// protection away with it. An orphan's data is always preserved.
func (d *Decision) setAside() VolumeGoal {
	policy, within := spec.PreserveAlways, d.Data.Place == Inside
	if was := d.Applied(); was != nil && d.Record != nil {
		policy = was.PreserveData
	}
	switch {
	case policy == spec.PreserveAlways:
		return VolumeGoal{Move: within || d.onlyLeftover(), Away: PreserveVolume}
	case d.Data.Volume:
		d.dataLoss(policy)
		return VolumeGoal{Away: DiscardVolume}
	case d.CutShort(), d.unfinished(): // a change that was killed has discarded it, and not deleted it
		d.dataLoss(policy)
	case within:
		d.Cost = CostDataAtRisk
		d.Because(fmt.Sprintf("preserveData is %s: the data in its container is deleted", policy))
	}
	return VolumeGoal{}
}

// otherDataPath says what is lost when data that is still in a root filesystem is
// looked for at another path than the one that was applied. Only a person knows
// whether the old path was wrong, or the data is to be mounted elsewhere.
func (d *Decision) otherDataPath() {
	if was := d.Applied(); was != nil && was.DataPath != d.Desired.DataPath {
		d.Cost = CostDataAtRisk
		d.Because(fmt.Sprintf("its data is still in its root filesystem: what is at %s there is kept, and what is at %s is deleted (to keep that, set dataPath back; once it is in a volume, dataPath can change)", d.Desired.DataPath, was.DataPath))
	}
}

// dataLoss says that the change deletes data.
func (d *Decision) dataLoss(policy spec.PreservePolicy) {
	d.Cost = CostDataAtRisk
	d.Because(fmt.Sprintf("preserveData is %s: its data is deleted", policy))
}
