package memory

import (
	"fmt"
	"slices"
	"strings"
)

// String is the whole host as text, without times and versions: two runs that
// came to the same end have the same text.
func (h *Host) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for id, c := range h.containers {
		lines = append(lines, fmt.Sprintf("container %s: workspace %s, set %s, image %s, task %q", id, c.Workspace, c.Set, c.Image, c.Task.Status))
	}
	for name, files := range h.volumes {
		lines = append(lines, fmt.Sprintf("volume %s: %v", name, files))
	}
	for key, k := range h.preserved {
		lines = append(lines, fmt.Sprintf("preserved %s: %v", key.workspace, k.data))
	}
	for key, files := range h.trash {
		lines = append(lines, fmt.Sprintf("trash of %s: %v", key.workspace, files))
	}
	for name, a := range h.networks {
		lines = append(lines, fmt.Sprintf("network of %s: ports %v, fault %q", name, a.Ports, a.Broken))
	}
	for name, r := range h.records {
		image := ""
		if r.Applied != nil {
			image = r.Applied.Image
		}
		lines = append(lines, fmt.Sprintf("record %s: set %s, container %q, image %q, held %v, error %q", name, r.Set, r.Container, image, r.StoppedByUser, r.LastError))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
