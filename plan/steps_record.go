package plan

import (
	"fmt"
	"reflect"
	"time"

	"carrel/plan/state"
)

// ClaimRecord makes an empty record of a workspace that any host may have: the
// first host that has one has the workspace.
type ClaimRecord struct {
	Workspace string
	Set       string
	Host      string
	Source    string // the file that describes it
}

func (s ClaimRecord) String() string { return fmt.Sprintf("claim %s for host %s", s.Workspace, s.Host) }

// Role is Record.
func (ClaimRecord) Role() Role { return Record }

func (s ClaimRecord) simulate(w *World) error {
	r, taken := w.Records[s.Workspace]
	switch {
	case !taken:
		w.Records[s.Workspace] = state.Record{
			Workspace: s.Workspace, Set: s.Set, Host: s.Host, Source: s.Source, Version: 1, CreatedAt: w.Time, UpdatedAt: w.Time,
		}
	case r.Set != s.Set || r.Host != s.Host:
		return &ClaimedError{Workspace: s.Workspace, Host: r.Host, Set: r.Set, At: r.UpdatedAt}
	}
	return nil
}

// ClaimedError is a workspace that any host may have, and that another one has.
type ClaimedError struct {
	Workspace, Host, Set string
	At                   time.Time
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("workspace %s was claimed by host %s for set %s at %s (it stays there; name a host in its spec to choose one)",
		e.Workspace, e.Host, e.Set, e.At.Format(time.RFC3339))
}

// UnwrittenError is a store that takes nothing at present, as on a full disk. Nothing
// was written.
type UnwrittenError struct{ Err error }

func (e *UnwrittenError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *UnwrittenError) Unwrap() error { return e.Err }

// SaveRecord writes a workspace into the store. The record's Version is the one
// that was observed; the store refuses when it has another.
type SaveRecord struct {
	Record state.Record
}

func (s SaveRecord) String() string {
	if s.Record.StoppedByUser {
		return fmt.Sprintf("record %s as stopped by user", s.Record.Workspace)
	}
	return "record " + s.Record.Workspace
}

// Role is Record.
func (SaveRecord) Role() Role { return Record }

func (s SaveRecord) simulate(w *World) error {
	r, was := s.Record, w.Records[s.Record.Workspace]
	r.LastError, r.CreatedAt, r.UpdatedAt = "", time.Time{}, time.Time{}
	r.Version++
	if was.Version != s.Record.Version {
		was.CreatedAt, was.UpdatedAt = time.Time{}, time.Time{}
		if reflect.DeepEqual(was, r) {
			return nil // it was written before
		}
		return fmt.Errorf("the record of %s was changed since it was read", r.Workspace)
	}
	r.CreatedAt, r.UpdatedAt = was.CreatedAt, w.Time
	if was.Version == 0 {
		r.CreatedAt = r.UpdatedAt
	}
	w.Records[r.Workspace] = r
	return nil
}

// DeleteRecord takes a workspace out of the store. Version is the one that was
// observed.
type DeleteRecord struct {
	Workspace string
	Version   int64
}

func (s DeleteRecord) String() string { return "remove the record of " + s.Workspace }

// Role is Record.
func (DeleteRecord) Role() Role { return Record }

func (s DeleteRecord) simulate(w *World) error {
	if was, ok := w.Records[s.Workspace]; ok && was.Version != s.Version {
		return fmt.Errorf("the record of %s was changed since it was read", s.Workspace)
	}
	delete(w.Records, s.Workspace)
	return nil
}

// NoteHistory writes down what a change did that writes no record at its end.
type NoteHistory struct {
	Workspace string
}

func (s NoteHistory) String() string { return "note in the history of " + s.Workspace }

// Role is Record.
func (NoteHistory) Role() Role { return Record }

func (NoteHistory) simulate(*World) error { return nil }
