package memory

import (
	"fmt"
	"slices"
	"strings"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// This file is what happens to a host that no driver does.

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
	files := plan.Files{path: content}
	for name, text := range h.world.Volumes[workspace] {
		if name != path {
			files[name] = text
		}
	}
	h.world.Volumes[workspace] = files
}

// Die ends the task of a container, as if its process had exited.
func (h *Host) Die(id string, code uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(id, code)
}

// Strange puts a container here that carrel did not make. It runs, and its data
// is in a folder of the host, or in its root filesystem when that is "".
func (h *Host) Strange(found spec.Workspace, folder string, data plan.Files) {
	h.mu.Lock()
	defer h.mu.Unlock()
	image := h.registry[found.Image]
	h.here(found.Image, image)
	key := "rootfs-" + found.Name
	h.world.RootFilesystems[key] = nil
	if folder == "" {
		h.world.RootFilesystems[key] = data
	} else {
		h.world.Folders[folder] = data
	}
	h.running[found.Name] = image
	h.world.Instances[found.Name] = &state.Instance{
		ID: found.Name, Found: &found, Image: plan.Pinned(found.Image, image.Digest), Digest: image.Digest, Volume: folder,
		Snapshot: key, CreatedAt: h.now(), Task: state.Task{Status: state.TaskRunning, PID: 1},
	}
}

// Tamper changes the description of a container, as somebody else would who then
// restarts its process.
func (h *Host) Tamper(id string, drift ...state.Drift) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := *h.world.Instances[id]
	changed.Drift, changed.Task.Drifted = drift, changed.Task.Alive()
	h.world.Instances[id] = &changed
}

// Break makes the network of a workspace stop working. Its namespace stays, or
// goes too, as with a reboot.
func (h *Host) Break(workspace string, namespace bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.world.Networks[workspace]
	a.Broken = "its interface is gone"
	if namespace {
		a.Netns, a.Broken = 0, "its network namespace is gone"
	}
	h.world.Networks[workspace] = a
}

// Leave is what the network of a workspace leaves when a plugin fails.
func (h *Host) Leave(workspace, set string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.Left[workspace] = []state.Leftover{{Workspace: workspace, Set: set, Network: "x", What: "an address"}}
}

// Keep puts preserved data here.
func (h *Host) Keep(workspace string, data plan.Files) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.Preserved[workspace] = append(h.world.Preserved[workspace], plan.Kept{At: h.now(), Data: data})
}

// Folder puts a folder, or an archive, on the host.
func (h *Host) Folder(path string, data plan.Files) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.Folders[path] = data
}

// Device puts a device here.
func (h *Host) Device(name, digest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.Devices.Found[name] = digest
}

// Lose makes a container vanish without carrel. Its root filesystem stays.
func (h *Host) Lose(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.world.Instances, id)
}

// Forget makes a record vanish without carrel.
func (h *Host) Forget(workspace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.world.Records, workspace)
}

// String is the whole host as text, without times and versions: two runs that
// came to the same end have the same text.
func (h *Host) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for id, c := range h.world.Instances {
		lines = append(lines, fmt.Sprintf("container %s: workspace %s, set %s, image %s, task %q%s", id, c.Workspace, c.Set, c.Image, c.Task.Status, drifted(c)))
	}
	for name, files := range h.world.Volumes {
		lines = append(lines, fmt.Sprintf("volume %s: %v", name, files))
	}
	for name, all := range h.world.Preserved {
		for _, k := range all {
			lines = append(lines, fmt.Sprintf("preserved %s: %v", name, k.Data))
		}
	}
	for name, all := range h.world.Trash {
		for _, k := range all {
			lines = append(lines, fmt.Sprintf("trash of %s: %v", name, k.Data))
		}
	}
	for name, a := range h.world.Networks {
		lines = append(lines, fmt.Sprintf("network of %s: ports %v, broken %q", name, a.Ports, a.Broken))
	}
	for name, all := range h.world.Left {
		lines = append(lines, fmt.Sprintf("left of networks of %s: %v", name, all))
	}
	for name, r := range h.world.Records {
		image := ""
		if r.Applied != nil {
			image = r.Applied.Image
		}
		lines = append(lines, fmt.Sprintf("record %s: set %s, container %q, image %q, stopped by user %v, error %q", name, r.Set, r.Container, image, r.StoppedByUser, r.LastError))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func drifted(c *state.Instance) string {
	if len(c.Drift) == 0 && !c.Task.Drifted {
		return ""
	}
	return fmt.Sprintf(", drift %v, started with it: %v", c.Drift, c.Task.Drifted)
}
