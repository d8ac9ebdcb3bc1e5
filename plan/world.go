package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// World is a host that can be simulated: what exists on it, and what steps do to
// it. Lowering carries one along, so that each step is chosen from what the
// steps before it left. Tests carry whole plans out on it, and the driver in
// memory is a World with the methods of the drivers.
//
// A World made from an observation knows no content of volumes: their Files are
// nil. It shares values with the observation and changes none of them.
type World struct {
	Time    time.Time // now; it stands still while steps are simulated
	Devices state.Devices

	Records   map[string]state.Record     // by workspace
	Instances map[string]*state.Instance  // by id
	Images    map[string]state.Image      // by the image as specs write it
	Networks  map[string]state.Attachment // by workspace
	Left      map[string][]state.Leftover // by workspace
	Data

	observed   state.State // for what no step changes: the host, its folders
	namespaces uint64      // the highest number of a network namespace
}

// Data is all data of a world.
type Data struct {
	Volumes         map[string]Files  // by workspace
	Preserved       map[string][]Kept // by workspace, oldest first
	Trash           map[string][]Kept // by workspace, oldest first
	Extracted       map[string]Files  // by workspace: archives that were unpacked and are not placed
	RootFilesystems map[string]Files  // by key: what each has at the data path
	Folders         map[string]Files  // of the host, by path; archives of data too
	ImageData       map[string]Files  // by name: what an image has at the data path
}

// Files are the files of a folder: content by path.
type Files = map[string]string

// Kept is the volume of a workspace that is out of use: preserved, or in the
// trash.
type Kept struct {
	Set  string // "" when unknown
	At   time.Time
	Path string
	Data Files
}

// NewWorld is the observed host.
func NewWorld(now state.State) *World {
	w := &World{
		Time: now.Time, Devices: now.Devices, observed: now,
		Records: make(map[string]state.Record, len(now.Records)), Instances: make(map[string]*state.Instance, len(now.Instances)),
		Images: maps.Clone(now.Images), Networks: make(map[string]state.Attachment, len(now.Networks)), Left: map[string][]state.Leftover{},
		Data: Data{
			Volumes: make(map[string]Files, len(now.Volumes)), Preserved: map[string][]Kept{}, Trash: map[string][]Kept{},
			Extracted: map[string]Files{}, RootFilesystems: map[string]Files{}, Folders: map[string]Files{}, ImageData: map[string]Files{},
		},
	}
	if w.Images == nil {
		w.Images = map[string]state.Image{}
	}
	for _, r := range now.Records {
		w.Records[r.Workspace] = r
	}
	for i := range now.Instances {
		c := &now.Instances[i]
		w.Instances[c.ID] = c
		if c.Snapshot != "" && c.Damaged == "" {
			w.RootFilesystems[c.Snapshot] = nil
		}
		w.namespaces = max(w.namespaces, c.Task.Netns)
	}
	for _, key := range now.Snapshots {
		w.RootFilesystems[key] = nil
	}
	for _, a := range now.Networks {
		w.Networks[a.Workspace] = a
		w.namespaces = max(w.namespaces, a.Netns)
	}
	for _, l := range now.Left {
		w.Left[l.Workspace] = append(w.Left[l.Workspace], l)
	}
	for _, v := range now.Volumes {
		w.Volumes[v.Workspace] = nil
	}
	for _, p := range now.Preserved {
		w.Preserved[p.Workspace] = append(w.Preserved[p.Workspace], Kept{Set: p.Set, At: p.At, Path: p.Path})
	}
	for _, t := range now.Trash {
		w.Trash[t.Workspace] = append(w.Trash[t.Workspace], Kept{At: t.At})
	}
	return w
}

// Do simulates a step. Its error is that of a driver which refuses.
func (w *World) Do(s Step) error { return s.simulate(w) }

// State is the world as an observation of it.
func (w *World) State() state.State {
	o := w.observed
	now := state.State{
		Host: o.Host, Shared: o.Shared, Time: w.Time, VolumesDir: o.VolumesDir, Devices: w.Devices, Absent: o.Absent, CNI: o.CNI, DNS: o.DNS,
		IPv4Only: o.IPv4Only, Taken: o.Taken,
		Images: maps.Clone(w.Images),
	}
	for _, name := range slices.Sorted(maps.Keys(w.Records)) {
		now.Records = append(now.Records, w.Records[name])
	}
	used := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(w.Instances)) {
		now.Instances = append(now.Instances, *w.Instances[id])
		used[w.Instances[id].Snapshot] = true
	}
	for _, key := range slices.Sorted(maps.Keys(w.RootFilesystems)) {
		if !used[key] {
			now.Snapshots = append(now.Snapshots, key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Networks)) {
		now.Networks = append(now.Networks, w.Networks[name])
	}
	for _, name := range slices.Sorted(maps.Keys(w.Left)) {
		now.Left = append(now.Left, w.Left[name]...)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Volumes)) {
		now.Volumes = append(now.Volumes, state.Volume{Workspace: name, Path: w.volumePath(name)})
	}
	for _, name := range slices.Sorted(maps.Keys(w.Preserved)) {
		for _, k := range w.Preserved[name] {
			now.Preserved = append(now.Preserved, state.Preserved{Workspace: name, Set: k.Set, At: k.At, Path: k.Path})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Trash)) {
		for _, k := range w.Trash[name] {
			now.Trash = append(now.Trash, state.Trashed{Workspace: name, At: k.At})
		}
	}
	slices.SortStableFunc(now.Preserved, func(a, b state.Preserved) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(now.Trash, func(a, b state.Trashed) int { return a.At.Compare(b.At) })
	return now
}

func (w *World) volumePath(workspace string) string { return w.observed.VolumesDir + "/" + workspace }

// container is a copy of an instance that the world has from now on, for a
// change of it.
func (w *World) container(id string) (*state.Instance, error) {
	c, ok := w.Instances[id]
	if !ok {
		return nil, fmt.Errorf("container %s is not there", id)
	}
	changed := *c
	w.Instances[id] = &changed
	return &changed, nil
}

// keepSpec gives a container labels and a kept spec. Labels that the spec before
// did not have are somebody else's: they stay.
func (w *World) keepSpec(id, set, host string, s spec.Workspace) error {
	c, err := w.container(id)
	if err != nil {
		return err
	}
	labels := map[string]string{}
	maps.Copy(labels, c.Labels)
	if c.Applied != nil {
		for key := range c.Applied.Labels {
			delete(labels, key)
		}
	}
	maps.Copy(labels, s.Labels)
	c.Workspace, c.Set, c.Host, c.Applied, c.Labels = s.Name, set, host, &s, labels
	c.Drift = slices.DeleteFunc(slices.Clone(c.Drift), func(d state.Drift) bool { return d.Label })
	return nil
}

// fetch brings an image here, as its source has it now.
func (w *World) fetch(image, name string) error {
	known := w.Images[image]
	known.Name = cmp.Or(known.Name, name, image)
	known.Digest = cmp.Or(known.Source, known.Digest, "sha256:pulled")
	w.Images[image] = known
	return nil
}

// image is an image that is here, by the name that containerd has for it.
func (w *World) image(name string) (state.Image, bool) {
	if image, ok := w.Images[name]; ok && image.Digest != "" {
		return image, true
	}
	for _, image := range w.Images {
		if image.Digest != "" && (image.Name == name || Pinned(image.Name, image.Digest) == name) {
			return image, true
		}
	}
	return state.Image{}, false
}

// Pinned is the name by which an image stays what it is when its tag moves.
func Pinned(name, digest string) string {
	if strings.HasPrefix(name, spec.ArchivePrefix) {
		return name
	}
	bare, _, _ := strings.Cut(name, "@")
	return bare + "@" + digest
}

// mayClean reports whether earlier networks of a workspace of a set left what can be
// removed now.
func (w *World) mayClean(workspace, set string) bool {
	return slices.ContainsFunc(w.Left[workspace], func(l state.Leftover) bool { return l.Blocked == "" && l.Of(set) })
}

func (w *World) makeVolume(workspace string, data Files) error {
	if _, exists := w.Volumes[workspace]; exists {
		return fmt.Errorf("%s has a volume already", workspace)
	}
	w.Volumes[workspace] = data
	return nil
}

func (w *World) takeVolume(workspace string) (Files, bool) {
	data, ok := w.Volumes[workspace]
	delete(w.Volumes, workspace)
	return data, ok
}

func (w *World) discard(workspace string, k Kept) {
	w.Trash[workspace] = append(w.Trash[workspace], Kept{At: k.At, Data: k.Data})
}

// take takes out what was kept of a workspace at a time.
func take(from map[string][]Kept, workspace string, at time.Time) (Kept, bool) {
	for i, k := range from[workspace] {
		if k.At.Equal(at) {
			from[workspace] = slices.Delete(slices.Clone(from[workspace]), i, i+1)
			if len(from[workspace]) == 0 {
				delete(from, workspace)
			}
			return k, true
		}
	}
	return Kept{}, false
}

// freeTime is a time, now or a few nanoseconds later, that no preserved data of
// the workspace has yet.
func (w *World) freeTime(workspace string) time.Time {
	at := w.Time
	for slices.ContainsFunc(w.Preserved[workspace], func(k Kept) bool { return k.At.Equal(at) }) {
		at = at.Add(time.Nanosecond)
	}
	return at
}
