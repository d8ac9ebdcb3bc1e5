// Package memory is a host in memory: a simulated world of package plan with the
// methods of the drivers. Fast tests of plan and apply run on it.
//
// What a step does is written in one place, package plan. Here is only what a
// plan cannot know: registries, processes that fail, and what a person or a
// reboot does to a host. It fails where the real drivers would. Tests that want
// other failures wrap it.
package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// Host is a host in memory. Its zero value is not usable: see New.
type Host struct {
	// Shared is whether other hosts use the store too.
	Shared bool

	mu       sync.Mutex
	world    *plan.World
	registry map[string]Image // what can be pulled or imported
	running  map[string]Image // by container: the image that it was made from
	history  []state.Entry
}

// Image is an image in memory.
type Image struct {
	Digest string
	Data   plan.Files // what it has at the data path
	Exits  *uint32    // its process ends at once with this code
	Prints []string   // what its process prints before it ends
	Broken bool       // its process cannot be started
	Unfit  string     // why no container can be made of it; "" when one can
}

const volumesDir = "/volumes"

// New makes an empty host.
func New(name string) *Host {
	world := plan.NewWorld(state.State{Host: name, Time: time.Now().UTC(), VolumesDir: volumesDir, Devices: state.Devices{Found: map[string]string{}}})
	return &Host{world: world, registry: map[string]Image{}, running: map[string]Image{}}
}

// do carries out a step, at a time later than all before.
func (h *Host) do(s plan.Step) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.step(s)
}

func (h *Host) step(s plan.Step) error {
	h.now()
	return h.world.Do(s)
}

// now is the time of the host, which passes by being asked for.
func (h *Host) now() time.Time {
	h.world.Time = h.world.Time.Add(time.Second)
	return h.world.Time
}

// Observe is the host as the real drivers would observe it.
func (h *Host) Observe(want spec.Set) state.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now()
	now := h.world.State()
	now.Shared, now.Images = h.Shared, map[string]state.Image{}
	now.Devices.Found = maps.Clone(h.world.Devices.Found)
	for _, w := range want.Workspaces {
		image := state.Image{Name: w.Image, Digest: h.world.Images[w.Image].Digest}
		if _, archive := w.Archive(); archive || w.ImagePullPolicy == spec.PullAlways {
			image.Source = h.registry[w.Image].Digest
		}
		now.Images[w.Image] = image
	}
	return now
}

// PullImage takes an image from what was published.
func (h *Host) PullImage(ctx context.Context, s plan.PullImage, _ func(string, int64, int64)) error {
	return h.fetch(ctx, s.Image, s)
}

// ImportImage takes an image from what was published.
func (h *Host) ImportImage(ctx context.Context, s plan.ImportImage) error {
	return h.fetch(ctx, s.Name, s)
}

func (h *Host) fetch(ctx context.Context, ref string, s plan.Step) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	image, ok := h.registry[ref]
	if !ok {
		return fmt.Errorf("image %s was not found in its registry", ref)
	}
	h.here(ref, image)
	return errors.Join(h.step(s), ctx.Err())
}

// here puts an image on the host.
func (h *Host) here(ref string, image Image) {
	h.world.Images[ref] = state.Image{Name: ref, Digest: image.Digest, Source: image.Digest}
	h.world.ImageData[ref] = image.Data
}

// image is what was published under a name that containerd has.
func (h *Host) image(name string) Image {
	for ref, image := range h.registry {
		if ref == name || plan.Pinned(ref, image.Digest) == name {
			return image
		}
	}
	return Image{}
}

// ViewImage gives the image's name as its root.
func (h *Host) ViewImage(_ context.Context, s plan.CreateVolume, fn func(root string, owner state.Owner) error) error {
	return fn(s.Image, state.Owner{})
}

// ViewSnapshot gives the key of a root filesystem as its root.
func (h *Host) ViewSnapshot(_ context.Context, s plan.MigrateData, fn func(root string) error) error {
	return fn(s.Snapshot)
}

// CheckImage refuses an image that is unfit.
func (h *Host) CheckImage(_ context.Context, s plan.CheckImage) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if why := h.image(s.For.Image).Unfit; why != "" {
		return errors.New(why)
	}
	return h.step(s)
}

// CheckContainer needs a container.
func (h *Host) CheckContainer(_ context.Context, s plan.CheckContainer) error { return h.do(s) }

// CreateContainer makes a container without a task.
func (h *Host) CreateContainer(_ context.Context, s plan.CreateContainer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running[s.Container] = h.image(s.Image)
	return h.step(s)
}

// AdoptContainer gives a container labels and a kept spec.
func (h *Host) AdoptContainer(_ context.Context, s plan.AdoptContainer) error { return h.do(s) }

// UpdateLabels gives a container labels and a kept spec.
func (h *Host) UpdateLabels(_ context.Context, s plan.UpdateLabels) error { return h.do(s) }

// RestoreDescription undoes what was changed in the description of a container.
func (h *Host) RestoreDescription(_ context.Context, s plan.RestoreDescription) error {
	return h.do(s)
}

// UpdateResources gives the task of a container other limits.
func (h *Host) UpdateResources(_ context.Context, s plan.UpdateResources) error { return h.do(s) }

// DeleteContainer removes a container whose task does not run.
func (h *Host) DeleteContainer(_ context.Context, s plan.DeleteContainer) error { return h.do(s) }

// StopTask ends a container's process.
func (h *Host) StopTask(_ context.Context, s plan.StopTask) error { return h.do(s) }

// StartTask starts a container's process, unless its image is broken.
func (h *Host) StartTask(_ context.Context, s plan.StartTask) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	image := h.running[s.Container]
	if c := h.world.Instances[s.Container]; c != nil && !c.Task.Alive() && image.Broken {
		return errors.New("its command is not in the image")
	}
	if err := h.step(s); err != nil {
		return err
	}
	if image.Exits != nil {
		h.end(s.Container, *image.Exits)
	}
	return nil
}

func (h *Host) end(id string, code uint32) {
	ended := *h.world.Instances[id]
	ended.Task = state.Task{Status: state.TaskStopped, ExitCode: code, ExitedAt: h.now()}
	h.world.Instances[id] = &ended
}

// Exited says at once whether a process ended: here it ends at once or never.
func (h *Host) Exited(_ context.Context, id string) (code uint32, exited bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.world.Instances[id]
	if !ok {
		return 0, false, fmt.Errorf("container %s is not there", id)
	}
	return c.Task.ExitCode, c.Task.Status == state.TaskStopped, nil
}

// LastOutput is what an image prints whose process ends at once.
func (h *Host) LastOutput(_ context.Context, s plan.StartTask) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running[s.Container].Prints
}

// AttachNetwork gives a workspace a network, in the namespace that it has.
func (h *Host) AttachNetwork(_ context.Context, s plan.AttachNetwork) error { return h.do(s) }

// DetachNetwork takes it away.
func (h *Host) DetachNetwork(_ context.Context, s plan.DetachNetwork) error { return h.do(s) }

// CleanNetwork removes what is left of networks.
func (h *Host) CleanNetwork(_ context.Context, s plan.CleanNetwork) error { return h.do(s) }

// Records are all records, by workspace.
func (h *Host) Records(context.Context) ([]state.Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.world.State().Records, nil
}

// History is what was done, oldest first.
func (h *Host) History() []state.Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.history)
}

// write carries out a step of the store, with the history that led to it.
func (h *Host) write(s plan.Step, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.step(s); err != nil {
		return err
	}
	h.history = append(h.history, history...)
	return nil
}

// ClaimRecord makes an empty record.
func (h *Host) ClaimRecord(_ context.Context, s plan.ClaimRecord, history []state.Entry) error {
	return h.write(s, history)
}

// SaveRecord writes a record over the version that was read.
func (h *Host) SaveRecord(_ context.Context, s plan.SaveRecord, history []state.Entry) error {
	return h.write(s, history)
}

// DeleteRecord takes out the version that was read.
func (h *Host) DeleteRecord(_ context.Context, s plan.DeleteRecord, history []state.Entry) error {
	return h.write(s, history)
}

// NoteHistory adds to the history and to nothing else.
func (h *Host) NoteHistory(_ context.Context, s plan.NoteHistory, history []state.Entry) error {
	return h.write(s, history)
}

// SaveFailure notes why a change failed.
func (h *Host) SaveFailure(_ context.Context, f state.Failure, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history = append(h.history, history...)
	r, ok := h.world.Records[f.Workspace]
	if !ok {
		r = state.Record{Workspace: f.Workspace, Set: f.Set, Host: f.Host, Source: f.Source, CreatedAt: h.now()}
		r.UpdatedAt = r.CreatedAt
	}
	if r.Set == f.Set && r.Host == f.Host {
		r.LastError = f.Error
		r.Version++
		h.world.Records[f.Workspace] = r
	}
	return nil
}
