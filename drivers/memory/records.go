package memory

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"carrel/plan"
	"carrel/plan/state"
)

// Records are all records, by workspace.
func (h *Host) Records(context.Context) ([]state.Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []state.Record
	for _, name := range slices.Sorted(maps.Keys(h.records)) {
		all = append(all, h.records[name])
	}
	return all, nil
}

// History is what was done, oldest first.
func (h *Host) History() []state.Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.history)
}

// ClaimRecord makes an empty record.
func (h *Host) ClaimRecord(_ context.Context, s plan.ClaimRecord, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, taken := h.records[s.Workspace]
	switch {
	case !taken:
		at := h.now()
		h.records[s.Workspace] = state.Record{Workspace: s.Workspace, Set: s.Set, Host: s.Host, Source: s.Source, Version: 1, CreatedAt: at, UpdatedAt: at}
	case r.Set != s.Set || r.Host != s.Host:
		return &plan.ClaimedError{Workspace: s.Workspace, Host: r.Host, Set: r.Set, At: r.UpdatedAt}
	}
	h.history = append(h.history, history...)
	return nil
}

// SaveRecord writes a record over the version that was read.
func (h *Host) SaveRecord(_ context.Context, s plan.SaveRecord, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, was := s.Record, h.records[s.Record.Workspace]
	r.LastError, r.CreatedAt, r.UpdatedAt = "", time.Time{}, time.Time{}
	r.Version++
	if was.Version != s.Record.Version {
		was.CreatedAt, was.UpdatedAt = time.Time{}, time.Time{}
		if reflect.DeepEqual(was, r) {
			return nil
		}
		return fmt.Errorf("the record of %s was changed since it was read", r.Workspace)
	}
	r.CreatedAt, r.UpdatedAt = was.CreatedAt, h.now()
	if was.Version == 0 {
		r.CreatedAt = r.UpdatedAt
	}
	h.records[r.Workspace] = r
	h.history = append(h.history, history...)
	return nil
}

// DeleteRecord takes out the version that was read.
func (h *Host) DeleteRecord(_ context.Context, s plan.DeleteRecord, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, ok := h.records[s.Workspace]
	if ok && was.Version != s.Version {
		return fmt.Errorf("the record of %s was changed since it was read", s.Workspace)
	}
	delete(h.records, s.Workspace)
	h.history = append(h.history, history...)
	return nil
}

// NoteHistory adds to the history and to nothing else.
func (h *Host) NoteHistory(_ context.Context, _ plan.NoteHistory, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history = append(h.history, history...)
	return nil
}

// SaveFailure notes why a change failed.
func (h *Host) SaveFailure(_ context.Context, f state.Failure, history []state.Entry) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history = append(h.history, history...)
	r, ok := h.records[f.Workspace]
	if !ok {
		r = state.Record{Workspace: f.Workspace, Set: f.Set, Host: f.Host, Source: f.Source, CreatedAt: h.now()}
	}
	if r.Set == f.Set && r.Host == f.Host {
		r.LastError, r.UpdatedAt = f.Error, h.now()
		r.Version++
		h.records[f.Workspace] = r
	}
	return nil
}
