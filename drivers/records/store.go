// Package records is the store: it keeps a record of each workspace, and the
// history of what was done to it. There are two databases, SQLite (embedded) and
// Postgres, with the same tables and queries.
//
// It reads no containers and decides nothing. A record that another run changed
// after it was read is not overwritten: that is a ConflictError.
package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"carrel/drivers/records/query"
	"carrel/plan"
	"carrel/plan/state"
)

//go:generate go tool -modfile=../../tools/go.mod sqlc generate -f sqlc.yaml

// Store is an open store.
type Store struct {
	db     *sql.DB // nil for a store that is only read and does not exist yet
	name   string  // its URL, without the password: for messages
	shared bool    // whether other hosts can use it too
	have   int64   // the version of its tables: older ones lack some, and are not migrated for reading

	url    string      // with the password
	file   string      // of SQLite; "" for Postgres
	opened os.FileInfo // the file as it was when it was opened: it may be replaced, see Replaced

	// A store on a full disk is only read, and opened again for each write.
	unwritten error // why it could not be opened for writing; nil when it is
	mu        sync.Mutex
	again     *Store // opened for writing after all; nil before
}

// String is the store's URL without its password.
func (s *Store) String() string { return s.name }

// Close closes the store.
func (s *Store) Close() error {
	var errs []error
	if s.again != nil {
		errs = append(errs, s.again.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// Replaced reports whether the file of the store was deleted or replaced since it
// was opened. What is written to the open one is then lost.
func (s *Store) Replaced() bool {
	if s.opened == nil {
		return false
	}
	now, err := os.Stat(s.file)
	return err != nil && errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(s.opened, now)
}

// Records are the records of all sets and hosts, sorted by workspace.
func (s *Store) Records(ctx context.Context) ([]state.Record, error) {
	if s.db == nil {
		return nil, nil
	}
	rows, err := query.New(s.db).ListRecords(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	all := make([]state.Record, len(rows))
	for i, row := range rows {
		all[i], err = record(row)
		if err != nil {
			return nil, s.explain(err)
		}
	}
	return all, nil
}

func record(row query.Record) (state.Record, error) {
	r := state.Record{
		Workspace: row.Workspace, Set: row.SetName, Host: row.Host, Source: row.Source,
		Container: row.Container, StoppedByUser: row.Held, LastError: row.LastError, Version: row.Version,
		CreatedAt: time.UnixMicro(row.CreatedAt).UTC(), UpdatedAt: time.UnixMicro(row.UpdatedAt).UTC(),
	}
	if row.Applied == "" {
		return r, nil
	}
	applied, err := state.DecodeSpec([]byte(row.Applied))
	if err != nil {
		return r, fmt.Errorf("record of %s: %w", row.Workspace, err)
	}
	r.Applied = applied
	return r, nil
}

// Query selects a part of the history.
type Query struct {
	Workspace string // "" is every workspace
	Limit     int    // at most so many entries, the newest; 0 is 100
}

// History is what was done to workspaces, newest first.
func (s *Store) History(ctx context.Context, q Query) ([]state.Entry, error) {
	if s.db == nil {
		return nil, nil
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	rows, err := query.New(s.db).ListHistory(ctx, query.ListHistoryParams{Workspace: q.Workspace, Most: int64(q.Limit)})
	if err != nil {
		return nil, s.explain(err)
	}
	all := make([]state.Entry, len(rows))
	for i, row := range rows {
		all[i] = state.Entry{
			Time: time.UnixMicro(row.At).UTC(), Who: row.Who, Plan: row.Plan, Workspace: row.Workspace,
			Action: row.Action, Reason: row.Reason, Step: row.Step, Error: row.Error,
			Duration: time.Duration(row.Duration) * time.Microsecond,
		}
	}
	return all, nil
}

// ConflictError is a write that was refused, because another run changed or
// deleted the record after it was read.
type ConflictError struct {
	Workspace string
	Who       string    // changed it; "" when it was deleted
	At        time.Time // of that change; zero when it was deleted
}

func (e *ConflictError) Error() string {
	if e.At.IsZero() {
		return fmt.Sprintf("the record of %s was deleted since it was read (plan again)", e.Workspace)
	}
	return fmt.Sprintf("the record of %s was changed by %s at %s, since it was read (plan again)",
		e.Workspace, e.Who, e.At.Format(time.RFC3339))
}

// SaveRecord writes a record over the version that was read. It succeeds when the
// store has that very record already.
func (s *Store) SaveRecord(ctx context.Context, step plan.SaveRecord, history []state.Entry) error {
	r := step.Record
	applied := ""
	if r.Applied != nil {
		text, err := state.EncodeSpec(*r.Applied)
		if err != nil {
			return err
		}
		applied = string(text)
	}
	who, now := who(history), time.Now().UnixMicro()
	return s.write(ctx, history, func(q *query.Queries) error {
		var written int64
		var err error
		if r.Version == 0 {
			written, err = q.InsertRecord(ctx, query.InsertRecordParams{
				Workspace: r.Workspace, SetName: r.Set, Host: r.Host, Source: r.Source, Container: r.Container,
				Applied: applied, Held: r.StoppedByUser, CreatedAt: now, UpdatedAt: now, UpdatedBy: who,
			})
		} else {
			written, err = q.UpdateRecord(ctx, query.UpdateRecordParams{
				Source: r.Source, Container: r.Container, Applied: applied, Held: r.StoppedByUser, UpdatedAt: now, UpdatedBy: who,
				Workspace: r.Workspace, Version: r.Version, SetName: r.Set, Host: r.Host,
			})
		}
		if err != nil || written == 1 {
			return err
		}
		want := query.Record{
			Workspace: r.Workspace, SetName: r.Set, Host: r.Host, Source: r.Source, Container: r.Container,
			Applied: applied, Held: r.StoppedByUser, Version: r.Version + 1,
		}
		return conflict(ctx, q, want)
	})
}

// conflict is the error of a record that was not written. It is nil when the
// store has the record as wanted: an earlier write was done, and its answer lost.
func conflict(ctx context.Context, q *query.Queries, want query.Record) error {
	found, err := q.GetRecord(ctx, want.Workspace)
	if errors.Is(err, sql.ErrNoRows) {
		return &ConflictError{Workspace: want.Workspace}
	}
	if err != nil {
		return err
	}
	who, at := found.UpdatedBy, time.UnixMicro(found.UpdatedAt).UTC()
	found.CreatedAt, found.UpdatedAt, found.UpdatedBy = 0, 0, ""
	if found == want {
		return nil
	}
	return &ConflictError{Workspace: want.Workspace, Who: who, At: at}
}

// DeleteRecord deletes a record. It succeeds when there is none.
func (s *Store) DeleteRecord(ctx context.Context, step plan.DeleteRecord, history []state.Entry) error {
	return s.write(ctx, history, func(q *query.Queries) error {
		written, err := q.DeleteRecord(ctx, query.DeleteRecordParams{Workspace: step.Workspace, Version: step.Version})
		if err != nil || written == 1 {
			return err
		}
		found, err := q.GetRecord(ctx, step.Workspace)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return &ConflictError{Workspace: step.Workspace, Who: found.UpdatedBy, At: time.UnixMicro(found.UpdatedAt).UTC()}
	})
}

// NoteHistory adds to the history and changes no record.
func (s *Store) NoteHistory(ctx context.Context, _ plan.NoteHistory, history []state.Entry) error {
	return s.write(ctx, history, func(*query.Queries) error { return nil })
}

// SaveFailure writes into a record why the last change of its workspace failed. A
// record of another set or host is not changed: then only the history has it.
func (s *Store) SaveFailure(ctx context.Context, f state.Failure, history []state.Entry) error {
	now := time.Now().UnixMicro()
	return s.write(ctx, history, func(q *query.Queries) error {
		return q.SaveFailure(ctx, query.SaveFailureParams{
			Workspace: f.Workspace, SetName: f.Set, Host: f.Host, Source: f.Source, LastError: f.Error,
			CreatedAt: now, UpdatedAt: now, UpdatedBy: who(history),
		})
	})
}

// write changes a record and adds to the history in one transaction: either both
// are written or neither.
func (s *Store) write(ctx context.Context, history []state.Entry, change func(*query.Queries) error) error {
	open, err := s.writable(ctx)
	if err == nil {
		err = open.explain(open.transact(ctx, history, change))
	}
	if noRoom(err) {
		return &plan.UnwrittenError{Err: err}
	}
	return err
}

func (s *Store) transact(ctx context.Context, history []state.Entry, change func(*query.Queries) error) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return err
	}
	q := query.New(tx)
	err = change(q)
	for _, e := range history {
		if err != nil {
			break
		}
		err = q.AddHistory(ctx, query.AddHistoryParams{
			At: e.Time.UnixMicro(), Who: e.Who, Plan: e.Plan, Workspace: e.Workspace,
			Action: e.Action, Reason: e.Reason, Step: e.Step, Duration: e.Duration.Microseconds(), Error: e.Error,
		})
	}
	if err == nil {
		err = tx.Commit()
	} else {
		err = errors.Join(err, tx.Rollback())
	}
	return err
}

// writable is the store to write to. One that was opened on a full disk is opened
// again: what was done since may have made room.
func (s *Store) writable(ctx context.Context) (*Store, error) {
	if s.unwritten == nil {
		return s, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again != nil {
		return s.again, nil
	}
	again, err := Open(ctx, s.url)
	if err != nil {
		return nil, err
	}
	s.again = again
	return again, nil
}

// begin begins a transaction. It skips connections that broke while they were
// idle, because the server was restarted: nothing was sent on them.
func (s *Store) begin(ctx context.Context) (*sql.Tx, error) {
	for idle := s.db.Stats().Idle; ; idle-- {
		tx, err := s.db.BeginTx(ctx, nil)
		if err == nil || idle <= 0 || !pgconn.SafeToRetry(err) {
			return tx, err
		}
	}
}

func who(history []state.Entry) string {
	if len(history) == 0 {
		return ""
	}
	return history[len(history)-1].Who
}
