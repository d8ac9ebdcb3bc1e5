// Package memory is a host that exists in memory only: a runtime, volumes and
// a store in which fast tests of plan and apply see what would happen. It
// behaves like the real drivers where a plan or an apply can tell.
//
// It fails only where the real ones would. Tests that want failures wrap it.
package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// Host is a host in memory. Its zero value is not usable: see New.
type Host struct {
	name string

	// Shared is whether other hosts use the store too.
	Shared bool

	mu         sync.Mutex
	clock      time.Time
	registry   map[string]Image // what can be pulled or imported
	images     map[string]Image // what is here, by name and by digest
	containers map[string]*container
	volumes    map[string]map[string]string // by workspace: path to content
	preserved  map[preservedKey]kept
	trash      map[preservedKey]map[string]string
	networks   map[string]state.Attachment
	namespaces uint64 // how many were made
	devices    map[string]string
	snapshots  map[string]map[string]string // root filesystems without a container: path to content at the data path
	folders    map[string]map[string]string // of the host
	records    map[string]state.Record
	history    []state.Entry
}

// Image is an image in memory.
type Image struct {
	Digest string
	Data   map[string]string // what it has at the data path
	Exits  *uint32           // its process ends at once with this code
	Broken bool              // its process cannot be started
}

type container struct {
	state.Instance
	image Image
}

type preservedKey struct {
	workspace string
	at        time.Time
}

// kept is a volume that was preserved.
type kept struct {
	set  string
	data map[string]string
}

// New makes an empty host.
func New(name string) *Host {
	return &Host{
		name: name, clock: time.Now().UTC(),
		registry: map[string]Image{}, images: map[string]Image{}, containers: map[string]*container{},
		volumes: map[string]map[string]string{}, preserved: map[preservedKey]kept{}, records: map[string]state.Record{},
		trash: map[preservedKey]map[string]string{}, networks: map[string]state.Attachment{}, devices: map[string]string{},
		snapshots: map[string]map[string]string{}, folders: map[string]map[string]string{},
	}
}

// Publish puts an image where it can be pulled.
func (h *Host) Publish(ref string, image Image) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.registry[ref] = image
}

// Write puts a file into the volume of a workspace, as its process would.
func (h *Host) Write(workspace, path, content string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.volumes[workspace][path] = content
}

// Die ends the task of a container, as if its process had exited.
func (h *Host) Die(id string, code uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.containers[id].Task = state.Task{Status: state.TaskStopped, ExitCode: code, ExitedAt: h.now()}
}

// Strange puts a container here that carrel did not make. It runs, and its data
// is in a folder of the host, or in its root filesystem when that is "".
func (h *Host) Strange(found spec.Workspace, folder string, data map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	image := h.registry[found.Image]
	h.images[found.Image], h.images[pinned(found.Image, image)] = image, image
	if folder == "" {
		h.snapshots["rootfs-"+found.Name] = data
	} else {
		h.folders[folder] = data
	}
	h.containers[found.Name] = &container{image: image, Instance: state.Instance{
		ID: found.Name, Found: &found, Image: pinned(found.Image, image), Digest: image.Digest, Volume: folder,
		Snapshot: "rootfs-" + found.Name, CreatedAt: h.now(), Task: state.Task{Status: state.TaskRunning, PID: 1},
	}}
}

// Break makes the network of a workspace stop working. Its namespace stays, or
// goes too, as with a reboot.
func (h *Host) Break(workspace string, namespace bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.networks[workspace]
	a.Broken = "its interface is gone"
	if namespace {
		a.Netns, a.Broken = 0, "its network namespace is gone"
	}
	h.networks[workspace] = a
}

// Keep puts preserved data here.
func (h *Host) Keep(workspace string, data map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.preserved[preservedKey{workspace, h.now()}] = kept{data: data}
}

// Folder puts a folder, or an archive, on the host.
func (h *Host) Folder(path string, data map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.folders[path] = data
}

// Device puts a device here.
func (h *Host) Device(name, digest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.devices[name] = digest
}

// Lose makes a container vanish behind everyone's back.
func (h *Host) Lose(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.containers, id)
}

// Forget makes a record vanish behind everyone's back.
func (h *Host) Forget(workspace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.records, workspace)
}

// now is the time of the host, which passes by being asked for.
func (h *Host) now() time.Time {
	h.clock = h.clock.Add(time.Second)
	return h.clock
}

// Observe is the host as the real drivers would see it.
func (h *Host) Observe(want spec.Set) state.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := state.State{
		Host: h.name, Time: h.now(), Images: map[string]state.Image{}, VolumesDir: volumesDir, Shared: h.Shared,
		Devices: state.Devices{Found: maps.Clone(h.devices)},
	}
	for _, name := range slices.Sorted(maps.Keys(h.records)) {
		now.Records = append(now.Records, h.records[name])
	}
	for _, id := range slices.Sorted(maps.Keys(h.containers)) {
		now.Instances = append(now.Instances, h.containers[id].Instance)
	}
	for _, w := range want.Workspaces {
		image := state.Image{Name: w.Image, Digest: h.images[w.Image].Digest}
		if _, archive := w.Archive(); archive || w.ImagePullPolicy == spec.PullAlways {
			image.Source = h.registry[w.Image].Digest
		}
		now.Images[w.Image] = image
	}
	for _, name := range slices.Sorted(maps.Keys(h.volumes)) {
		now.Volumes = append(now.Volumes, state.Volume{Workspace: name, Path: volumesDir + "/" + name})
	}
	for _, name := range slices.Sorted(maps.Keys(h.networks)) {
		now.Networks = append(now.Networks, h.networks[name])
	}
	for key := range h.trash {
		now.Trash = append(now.Trash, state.Trashed{Workspace: key.workspace, At: key.at})
	}
	slices.SortFunc(now.Trash, func(a, b state.Trashed) int { return a.At.Compare(b.At) })
	for _, key := range slices.Sorted(maps.Keys(h.snapshots)) {
		if !slices.ContainsFunc(now.Instances, func(c state.Instance) bool { return c.Snapshot == key }) {
			now.Snapshots = append(now.Snapshots, key)
		}
	}
	for key, k := range h.preserved {
		now.Preserved = append(now.Preserved, state.Preserved{Workspace: key.workspace, Set: k.set, At: key.at})
	}
	slices.SortFunc(now.Preserved, func(a, b state.Preserved) int { return a.At.Compare(b.At) })
	return now
}

// PullImage takes an image from what was published.
func (h *Host) PullImage(ctx context.Context, s plan.PullImage, _ func(string, int64, int64)) error {
	return h.fetch(ctx, s.Image)
}

// ImportImage takes an image from what was published.
func (h *Host) ImportImage(ctx context.Context, s plan.ImportImage) error {
	return h.fetch(ctx, s.Name)
}

func (h *Host) fetch(ctx context.Context, ref string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	image, ok := h.registry[ref]
	if !ok {
		return fmt.Errorf("image %s was not found in its registry", ref)
	}
	h.images[ref], h.images[pinned(ref, image)] = image, image
	return ctx.Err()
}

func pinned(ref string, image Image) string {
	name, _, _ := strings.Cut(ref, "@")
	return name + "@" + image.Digest
}

const volumesDir = "/volumes"

// ViewImage gives the image's name as its root.
func (h *Host) ViewImage(_ context.Context, s plan.CreateVolume, fn func(root string, owner state.Owner) error) error {
	h.mu.Lock()
	_, ok := h.images[s.Image]
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("image %s is not here", s.Image)
	}
	return fn(s.Image, state.Owner{})
}

// CreateContainer makes a container without a task.
func (h *Host) CreateContainer(_ context.Context, s plan.CreateContainer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.containers[s.Container]; ok {
		if reflect.DeepEqual(*c.Applied, s.Spec) {
			return nil
		}
		return fmt.Errorf("container %s exists and has another spec", s.Container)
	}
	image, ok := h.images[s.Image]
	if !ok {
		return fmt.Errorf("image %s is not here", s.Image)
	}
	h.containers[s.Container] = &container{image: image, Instance: state.Instance{
		ID: s.Container, Workspace: s.Spec.Name, Set: s.Set, Host: s.Host, Applied: &s.Spec, Labels: s.Spec.Labels,
		Image: pinned(s.Image, image), Digest: image.Digest, Volume: volumesDir + "/" + s.Spec.Name, CreatedAt: h.now(),
		Devices: map[string]string{},
	}}
	for _, name := range s.Spec.Devices {
		h.containers[s.Container].Devices[name] = h.devices[name]
	}
	return nil
}

// AdoptContainer gives a container labels and a kept spec.
func (h *Host) AdoptContainer(ctx context.Context, s plan.AdoptContainer) error {
	return h.UpdateLabels(ctx, plan.UpdateLabels{Container: s.Container, Set: s.Set, Host: s.Host, Spec: s.Spec})
}

// UpdateLabels gives a container labels and a kept spec.
func (h *Host) UpdateLabels(_ context.Context, s plan.UpdateLabels) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.containers[s.Container]
	if !ok {
		return fmt.Errorf("container %s is not there", s.Container)
	}
	c.Workspace, c.Set, c.Host, c.Applied, c.Labels = s.Spec.Name, s.Set, s.Host, &s.Spec, s.Spec.Labels
	return nil
}

// UpdateResources has nothing to do: nothing here uses anything.
func (h *Host) UpdateResources(_ context.Context, s plan.UpdateResources) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.containers[s.Container] == nil {
		return fmt.Errorf("container %s is not there", s.Container)
	}
	return nil
}

// DeleteContainer removes a container whose task does not run.
func (h *Host) DeleteContainer(_ context.Context, s plan.DeleteContainer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.containers[s.Container]; ok && c.Task.Alive() {
		return errors.New("its task is running (stop it first)")
	}
	if c, ok := h.containers[s.Container]; ok {
		delete(h.snapshots, c.Snapshot)
	}
	delete(h.containers, s.Container)
	return nil
}

// StartTask starts a container's process, which needs its volume.
func (h *Host) StartTask(_ context.Context, s plan.StartTask) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.containers[s.Container]
	switch {
	case !ok:
		return fmt.Errorf("container %s is not there", s.Container)
	case c.Task.Alive():
		return nil
	case h.volumes[s.Workspace] == nil && strings.HasPrefix(c.Volume, volumesDir):
		return fmt.Errorf("volume of %s is not there", s.Workspace)
	case c.image.Broken:
		return errors.New("its command is not in the image")
	}
	c.Task = state.Task{Status: state.TaskRunning, PID: 1}
	if c.Applied != nil && c.Applied.Network.Mode == spec.NetworkCNI {
		if h.networks[s.Workspace].Netns == 0 {
			return fmt.Errorf("network namespace of %s is not there", s.Workspace)
		}
		c.Task.Netns = h.networks[s.Workspace].Netns
	}
	if c.image.Exits != nil {
		c.Task = state.Task{Status: state.TaskStopped, ExitCode: *c.image.Exits, ExitedAt: h.now()}
	}
	return nil
}

// StopTask ends a container's process.
func (h *Host) StopTask(_ context.Context, s plan.StopTask) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.containers[s.Container]; ok {
		c.Task = state.Task{}
	}
	return nil
}

// Exited says at once whether a process ended: here it ends at once or never.
func (h *Host) Exited(_ context.Context, id string) (code uint32, exited bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.containers[id]
	if !ok {
		return 0, false, fmt.Errorf("container %s is not there", id)
	}
	return c.Task.ExitCode, c.Task.Status == state.TaskStopped, nil
}
