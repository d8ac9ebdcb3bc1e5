package plan

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// CreateVolume makes the data folder of a workspace, with what the image has at
// the data path. A volume that exists is left as it is.
type CreateVolume struct {
	Workspace string
	Image     string // the name in containerd's image store
	DataPath  string
	User      string // the spec's; "" is the image's
}

func (s CreateVolume) String() string {
	return fmt.Sprintf("create volume of %s from %s in %s", s.Workspace, s.DataPath, short(s.Image))
}

// Role is Build.
func (CreateVolume) Role() Role { return Build }

func (s CreateVolume) simulate(w *World) error {
	if _, here := w.image(s.Image); !here {
		return fmt.Errorf("image %s is not here", s.Image)
	}
	if _, exists := w.Volumes[s.Workspace]; !exists {
		w.Volumes[s.Workspace] = maps.Clone(w.ImageData[s.Image])
	}
	return nil
}

// MigrateData makes the volume of a workspace from what a root filesystem has at
// the data path: the one of a container that keeps its data there, or one whose
// container is gone. Or from a folder of the host that a container has mounted
// there. No process may be writing to it.
type MigrateData struct {
	Workspace string
	Snapshot  string // the root filesystem's key
	Folder    string // of the host, instead of a root filesystem
	DataPath  string // in the one or the other
}

func (s MigrateData) String() string {
	if s.Folder != "" {
		return fmt.Sprintf("copy data of %s from folder %s", s.Workspace, s.Folder)
	}
	return fmt.Sprintf("copy data of %s from %s in root filesystem %s", s.Workspace, s.DataPath, s.Snapshot)
}

// Role is Build.
func (MigrateData) Role() Role { return Build }

func (s MigrateData) simulate(w *World) error {
	data := w.Folders[s.Folder]
	if s.Folder == "" {
		found, ok := w.RootFilesystems[s.Snapshot]
		if !ok {
			return fmt.Errorf("root filesystem %s is not here", s.Snapshot)
		}
		data = found
	}
	return w.makeVolume(s.Workspace, maps.Clone(data))
}

// PreserveData takes the volume of a workspace out of use, and keeps it.
type PreserveData struct {
	Workspace string
	Set       string    // whose it is
	At        time.Time // under which it is kept
}

func (s PreserveData) String() string { return "preserve data of " + s.Workspace }

// Role is Disturb.
func (PreserveData) Role() Role { return Disturb }

func (s PreserveData) simulate(w *World) error {
	if data, ok := w.takeVolume(s.Workspace); ok {
		w.Preserved[s.Workspace] = append(w.Preserved[s.Workspace], Kept{Set: s.Set, At: s.At, Data: data})
	}
	return nil
}

// RestoreData makes preserved data the volume of its workspace again.
type RestoreData struct {
	Workspace string
	Set       string // whose it is
	At        time.Time
}

func (s RestoreData) String() string {
	return fmt.Sprintf("restore data of %s from %s", s.Workspace, moment(s.At))
}

// Role is Build.
func (RestoreData) Role() Role { return Build }

func (s RestoreData) simulate(w *World) error {
	_, exists := w.Volumes[s.Workspace]
	data, ok := take(w.Preserved, s.Workspace, s.At)
	switch {
	case exists && !ok:
		return nil
	case exists:
		return fmt.Errorf("%s has a volume already", s.Workspace)
	case !ok:
		return fmt.Errorf("%s has no data preserved at %s", s.Workspace, s.At)
	}
	return w.makeVolume(s.Workspace, data.Data)
}

// RenameData makes the volume of a workspace that of another one, which has none, and
// its preserved data too, as far as the set may restore it.
type RenameData struct {
	From, To string // workspaces
	Set      string // whose preserved data moves, beside that of no set
}

func (s RenameData) String() string { return fmt.Sprintf("rename data of %s to %s", s.From, s.To) }

// Role is Disturb.
func (RenameData) Role() Role { return Disturb }

func (s RenameData) takes(k Kept) bool { return k.Set == "" || k.Set == s.Set }

func (s RenameData) simulate(w *World) error {
	var stays []Kept
	for _, k := range w.Preserved[s.From] {
		if s.takes(k) {
			w.Preserved[s.To] = append(slices.Clone(w.Preserved[s.To]), k)
		} else {
			stays = append(stays, k)
		}
	}
	slices.SortStableFunc(w.Preserved[s.To], func(a, b Kept) int { return a.At.Compare(b.At) })
	if w.Preserved[s.From] = stays; len(stays) == 0 {
		delete(w.Preserved, s.From)
	}
	if len(w.Preserved[s.To]) == 0 {
		delete(w.Preserved, s.To)
	}
	if data, there := w.takeVolume(s.From); there {
		return w.makeVolume(s.To, data)
	}
	return nil
}

// DiscardData puts the volume of a workspace into the trash.
type DiscardData struct {
	Workspace string
	At        time.Time // under which it is in the trash
}

func (s DiscardData) String() string { return "discard data of " + s.Workspace }

// Role is Disturb.
func (DiscardData) Role() Role { return Disturb }

func (s DiscardData) simulate(w *World) error {
	if data, ok := w.takeVolume(s.Workspace); ok {
		w.discard(s.Workspace, Kept{At: s.At, Data: data})
	}
	return nil
}

// DiscardPreserved puts preserved data into the trash.
type DiscardPreserved struct {
	Workspace string
	Set       string    // whose it is
	At        time.Time // under which it was preserved
}

func (s DiscardPreserved) String() string {
	return fmt.Sprintf("discard data of %s preserved at %s", s.Workspace, moment(s.At))
}

// Role is Build: nothing that runs has this data.
func (DiscardPreserved) Role() Role { return Build }

func (s DiscardPreserved) simulate(w *World) error {
	if kept, ok := take(w.Preserved, s.Workspace, s.At); ok {
		w.discard(s.Workspace, kept)
	}
	return nil
}

// RecoverData takes the volume of a workspace back out of the trash, and puts
// the one that took its place there.
type RecoverData struct {
	Workspace string
	At        time.Time // under which it is in the trash
}

func (s RecoverData) String() string { return "take back discarded data of " + s.Workspace }

// Role is Build.
func (RecoverData) Role() Role { return Build }

func (s RecoverData) simulate(w *World) error {
	back, ok := take(w.Trash, s.Workspace, s.At)
	newer, replaced := w.takeVolume(s.Workspace)
	switch {
	case !ok && replaced:
		return w.makeVolume(s.Workspace, newer) // it was taken back before
	case !ok:
		return fmt.Errorf("the trash has no data of %s", s.Workspace)
	case replaced:
		w.discard(s.Workspace, Kept{At: s.At.Add(time.Nanosecond), Data: newer})
	}
	return w.makeVolume(s.Workspace, back.Data)
}

// EmptyTrash removes what the trash has of a workspace, permanently.
type EmptyTrash struct {
	Workspace string
}

func (s EmptyTrash) String() string { return "remove discarded data of " + s.Workspace }

// Role is Tidy.
func (EmptyTrash) Role() Role { return Tidy }

func (s EmptyTrash) simulate(w *World) error {
	delete(w.Trash, s.Workspace)
	return nil
}

// ExtractData unpacks an archive of data beside the volumes.
type ExtractData struct {
	Workspace string
	File      string // absolute
}

func (s ExtractData) String() string {
	return fmt.Sprintf("extract data of %s from %s", s.Workspace, s.File)
}

// Role is Prepare.
func (ExtractData) Role() Role { return Prepare }

func (s ExtractData) simulate(w *World) error {
	w.Extracted[s.Workspace] = maps.Clone(w.Folders[s.File])
	return nil
}

// PlaceData makes the unpacked archive the volume of its workspace.
type PlaceData struct {
	Workspace string
}

func (s PlaceData) String() string { return "use extracted data as volume of " + s.Workspace }

// Role is Build.
func (PlaceData) Role() Role { return Build }

func (s PlaceData) simulate(w *World) error {
	data, extracted := w.Extracted[s.Workspace]
	_, exists := w.Volumes[s.Workspace]
	switch {
	case !extracted && exists:
		return nil // it was placed before
	case !extracted:
		return fmt.Errorf("nothing was extracted for %s", s.Workspace)
	}
	if err := w.makeVolume(s.Workspace, data); err != nil {
		return err
	}
	delete(w.Extracted, s.Workspace)
	return nil
}
