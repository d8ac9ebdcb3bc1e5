package plan

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// PullImage fetches an image from its registry into containerd.
type PullImage struct {
	Image string // as the spec writes it, normalised
}

func (s PullImage) String() string { return "pull image " + s.Image }

// Role is Prepare.
func (PullImage) Role() Role { return Prepare }

func (s PullImage) simulate(w *World) error { return w.fetch(s.Image, "") }

// ImportImage puts an OCI archive of the host into containerd.
type ImportImage struct {
	Archive spec.Archive
	Digest  string // of the image's manifest or index when it was planned
	Name    string // in containerd's image store
}

func (s ImportImage) String() string { return "import image " + s.Archive.String() }

// Role is Prepare.
func (ImportImage) Role() Role { return Prepare }

func (s ImportImage) simulate(w *World) error {
	return w.fetch(spec.ArchivePrefix+s.Archive.String(), s.Name)
}

// BusyError is a registry that accepts no more requests until a time.
type BusyError struct {
	Registry string
	Answer   string // what it says
	At       time.Time
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s accepts no more requests before %s: %s (apply again then)", e.Registry, e.At.UTC().Format(time.RFC3339), e.Answer)
}

// CheckImage checks, while what ran before still runs, that a container can be
// made of an image, and its process started, as far as image, spec and host tell.
// It makes nothing.
type CheckImage struct {
	For CreateContainer // the step that it is the check of
}

func (s CheckImage) String() string {
	return fmt.Sprintf("check image %s for %s", short(s.For.Image), s.For.Spec.Name)
}

// Role is Prepare.
func (CheckImage) Role() Role { return Prepare }

func (s CheckImage) simulate(w *World) error {
	if _, here := w.image(s.For.Image); !here {
		return fmt.Errorf("image %s is not here", s.For.Image)
	}
	return nil
}

// CheckContainer checks, before the process of a container is ended for a while,
// that it can be started again: the host still has what the container mounts and
// the devices that it was given. It changes nothing.
type CheckContainer struct {
	Workspace string
	Container string
}

func (s CheckContainer) String() string {
	return fmt.Sprintf("check that container %s can start again", s.Container)
}

// Role is Prepare.
func (CheckContainer) Role() Role { return Prepare }

func (s CheckContainer) simulate(w *World) error {
	_, err := w.container(s.Container)
	return err
}

// CreateContainer makes the container of a workspace, without a task.
type CreateContainer struct {
	Container string
	Set       string
	Host      string
	Image     string // the name in containerd's image store
	Spec      spec.Workspace
}

func (s CreateContainer) String() string {
	return fmt.Sprintf("create container %s from %s", s.Container, short(s.Image))
}

// Role is Build.
func (CreateContainer) Role() Role { return Build }

func (s CreateContainer) simulate(w *World) error {
	if c, ok := w.Instances[s.Container]; ok {
		if c.Applied != nil && reflect.DeepEqual(*c.Applied, s.Spec) {
			return nil
		}
		return fmt.Errorf("container %s exists and has another spec", s.Container)
	}
	image, here := w.image(s.Image)
	if !here {
		return fmt.Errorf("image %s is not here", s.Image)
	}
	devices := map[string]string{}
	for _, name := range s.Spec.Devices {
		devices[name] = w.Devices.Found[name]
	}
	w.Instances[s.Container] = &state.Instance{
		ID: s.Container, Workspace: s.Spec.Name, Set: s.Set, Host: s.Host, Applied: &s.Spec, Labels: maps.Clone(s.Spec.Labels),
		Image: Pinned(s.Image, image.Digest), Digest: image.Digest, Volume: w.volumePath(s.Spec.Name), Snapshot: s.Container,
		CreatedAt: w.Time, Devices: devices,
	}
	w.RootFilesystems[s.Container] = nil
	return nil
}

// AdoptContainer makes a container that carrel did not make one of its own: it
// gets carrel's labels and keeps the spec that it amounts to.
type AdoptContainer struct {
	Container string
	Set       string
	Host      string
	Volume    string // the host folder mounted at the data path; "" when the data is in the root filesystem
	Spec      spec.Workspace
}

func (s AdoptContainer) String() string {
	return fmt.Sprintf("adopt container %s as %s", s.Container, s.Spec.Name)
}

// Role is Build.
func (AdoptContainer) Role() Role { return Build }

func (s AdoptContainer) simulate(w *World) error {
	return w.keepSpec(s.Container, s.Set, s.Host, s.Spec)
}

// UpdateLabels writes the parts of a spec that take effect in place into the
// container: its labels and the applied spec that it keeps.
type UpdateLabels struct {
	Container string
	Set       string
	Host      string
	Spec      spec.Workspace
}

func (s UpdateLabels) String() string { return "update labels and kept spec of " + s.Container }

// Role is Build.
func (UpdateLabels) Role() Role { return Build }

func (s UpdateLabels) simulate(w *World) error {
	return w.keepSpec(s.Container, s.Set, s.Host, s.Spec)
}

// RestoreDescription gives a container the OCI spec again that carrel made it with.
// Its next task gets that.
type RestoreDescription struct {
	Container string
}

func (s RestoreDescription) String() string { return "restore the OCI spec of " + s.Container }

// Role is Build.
func (RestoreDescription) Role() Role { return Build }

func (s RestoreDescription) simulate(w *World) error {
	c, err := w.container(s.Container)
	if err != nil {
		return err
	}
	c.Drift = slices.DeleteFunc(slices.Clone(c.Drift), func(d state.Drift) bool { return !d.Label })
	return nil
}

// UpdateResources changes the limits of the container, and of its task when it
// has one, without a restart.
type UpdateResources struct {
	Container string
	From, To  spec.Limits
}

func (s UpdateResources) String() string {
	return fmt.Sprintf("update limits of %s to %s", s.Container, limits(s.To))
}

// Role is Build.
func (UpdateResources) Role() Role { return Build }

func (s UpdateResources) simulate(w *World) error {
	c, err := w.container(s.Container)
	if err == nil && c.Task.Alive() {
		c.Task.Limits = &s.To
	}
	return err
}

// StartTask starts the process of a container, or resumes a paused one. What is
// left of an earlier task is cleaned up first; a task that runs is left alone.
type StartTask struct {
	Workspace string
	Container string
}

func (s StartTask) String() string { return "start " + s.Container }

// Role is Build.
func (StartTask) Role() Role { return Build }

func (s StartTask) simulate(w *World) error {
	c, err := w.container(s.Container)
	if err != nil {
		return err
	}
	if c.Task.Status == state.TaskPaused {
		c.Task.Status = state.TaskRunning
		return nil
	}
	if c.Task.Alive() {
		return nil
	}
	if _, ok := w.Volumes[s.Workspace]; !ok && c.Volume == w.volumePath(s.Workspace) {
		return fmt.Errorf("volume of %s is not there", s.Workspace)
	}
	c.Task = state.Task{Status: state.TaskRunning, PID: 1, Drifted: c.Redescribed()}
	if c.Applied != nil && c.Applied.Network.Mode == spec.NetworkCNI {
		if w.Networks[s.Workspace].Netns == 0 {
			c.Task = state.Task{}
			return fmt.Errorf("network namespace of %s is not there", s.Workspace)
		}
		c.Task.Netns = w.Networks[s.Workspace].Netns
	}
	return nil
}

// StopTask ends the process of a container and all its children: the signal,
// the grace period, then SIGKILL.
type StopTask struct {
	Container   string
	Signal      string // "" is the image's own, or SIGTERM
	GracePeriod spec.Duration
}

func (s StopTask) String() string {
	return fmt.Sprintf("stop %s within %s", s.Container, s.GracePeriod)
}

// Role is Disturb.
func (StopTask) Role() Role { return Disturb }

func (s StopTask) simulate(w *World) error {
	if c, err := w.container(s.Container); err == nil {
		c.Task = state.Task{}
	}
	return nil
}

// DeleteContainer removes a container and its root filesystem. It refuses one
// whose task runs.
type DeleteContainer struct {
	Container string
}

func (s DeleteContainer) String() string { return "delete container " + s.Container }

// Role is Disturb.
func (DeleteContainer) Role() Role { return Disturb }

func (s DeleteContainer) simulate(w *World) error {
	c, ok := w.Instances[s.Container]
	if !ok {
		return nil
	}
	if c.Task.Alive() {
		return errors.New("its task is running (stop it first)")
	}
	delete(w.RootFilesystems, c.Snapshot)
	delete(w.Instances, s.Container)
	return nil
}

// AttachNetwork gives a workspace a network namespace with an address. One that
// works is left as it is.
type AttachNetwork struct {
	Workspace string
	Set       string
	Ports     []spec.Port
}

func (s AttachNetwork) String() string {
	if len(s.Ports) == 0 {
		return "attach network of " + s.Workspace
	}
	return fmt.Sprintf("attach network of %s with ports %s", s.Workspace, decide.Ports(s.Ports))
}

// Role is Build.
func (AttachNetwork) Role() Role { return Build }

func (s AttachNetwork) simulate(w *World) error {
	a := w.Networks[s.Workspace]
	if a.Netns != 0 && a.Broken == "" && a.Stale == "" && decide.Ports(a.Ports) == decide.Ports(s.Ports) {
		return nil
	}
	if a.Netns == 0 {
		w.namespaces++
		a.Netns = w.namespaces
	}
	w.Networks[s.Workspace] = state.Attachment{Workspace: s.Workspace, Set: s.Set, Network: a.Network, Ports: s.Ports, Netns: a.Netns}
	return nil
}

// DetachNetwork takes the address and the namespace of a workspace back.
type DetachNetwork struct {
	Workspace string
}

func (s DetachNetwork) String() string { return "detach network of " + s.Workspace }

// Role is Disturb.
func (DetachNetwork) Role() Role { return Disturb }

func (s DetachNetwork) simulate(w *World) error {
	delete(w.Networks, s.Workspace)
	return nil
}

// CleanNetwork removes what earlier networks of a workspace left on the host,
// because they could not be detached whole.
type CleanNetwork struct {
	Workspace string
}

func (s CleanNetwork) String() string { return "clean up after networks of " + s.Workspace }

// Role is Tidy.
func (CleanNetwork) Role() Role { return Tidy }

func (s CleanNetwork) simulate(w *World) error {
	blocked := slices.DeleteFunc(slices.Clone(w.Left[s.Workspace]), func(l state.Leftover) bool { return l.Blocked == "" })
	w.Left[s.Workspace] = blocked
	if len(blocked) == 0 {
		delete(w.Left, s.Workspace)
	}
	return nil
}
