package memory

import (
	"context"
	"slices"

	"carrel/plan"
	"carrel/plan/state"
)

// AttachNetwork gives a workspace a network, in the namespace it has.
func (h *Host) AttachNetwork(_ context.Context, s plan.AttachNetwork) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.networks[s.Workspace]
	if a.Netns != 0 && a.Broken == "" && slices.Equal(a.Ports, s.Ports) {
		return nil
	}
	if a.Netns == 0 {
		h.namespaces++
		a.Netns = h.namespaces
	}
	h.networks[s.Workspace] = state.Attachment{Workspace: s.Workspace, Set: s.Set, Network: "memory", Ports: s.Ports, Netns: a.Netns}
	return nil
}

// DetachNetwork takes it away.
func (h *Host) DetachNetwork(_ context.Context, s plan.DetachNetwork) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.networks, s.Workspace)
	return nil
}
