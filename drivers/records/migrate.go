package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"carrel/schema"
)

const (
	// busyTimeout is how long SQLite waits for another program's lock on the file.
	busyTimeout = 30 * time.Second

	// lockRetry is how often the lock of a program that prepares the file is tried.
	lockRetry = 20 * time.Millisecond
)

// prepare makes an open store ready for writing: SQLite has a write-ahead log,
// and the tables have this program's version.
func (s *Store) prepare(ctx context.Context, t target) error {
	have, err := s.version(ctx, t.dialect)
	if err != nil {
		return err
	}
	current := have == newest(t.dialect)
	if t.file == "" {
		if current {
			return nil
		}
		// A table is the lock: a lock of the session breaks behind PgBouncer.
		locker, err := lock.NewPostgresTableLocker()
		if err != nil {
			return err
		}
		return s.migrate(ctx, t.dialect, goose.WithLocker(locker))
	}
	var mode string
	if err := s.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if current && mode == "wal" {
		return nil
	}
	return s.prepareFile(ctx, t)
}

// prepareFile gives a SQLite file a write-ahead log, so that readers and the
// writer do not wait for each other, and migrates its tables. The file keeps both.
//
// One program at a time does that, while it has the lock of a file beside it. The
// busy timeout is not enough: of two connections that change the journal mode at
// the same time, each reads and then asks for the exclusive lock, and SQLite
// refuses one at once, because both would wait for ever.
func (s *Store) prepareFile(ctx context.Context, t target) (err error) {
	file := flock.New(t.file+".migrating", flock.SetPermissions(0o600))
	if _, err := file.TryLockContext(ctx, lockRetry); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Unlock()) }()
	// On a filesystem that cannot have such a log, this does nothing.
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode(WAL)"); err != nil {
		return err
	}
	return s.migrate(ctx, t.dialect)
}

// version is the version of the store's tables, 0 when there are none. A
// version newer than this program's is an error.
func (s *Store) version(ctx context.Context, d dialect) (int64, error) {
	var migrated int
	if err := s.db.QueryRowContext(ctx, d.migrated).Scan(&migrated); err != nil || migrated == 0 {
		return 0, err
	}
	var have sql.NullInt64
	err := s.db.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version").Scan(&have)
	if err == nil && have.Int64 > newest(d) {
		err = fmt.Errorf("its tables have version %d, this carrel knows %d (use the newer carrel)", have.Int64, newest(d))
	}
	return have.Int64, err
}

// newest is the version of the tables that this program works with.
func newest(d dialect) int64 {
	files, err := fs.Glob(schema.Migrations, d.folder+"/*.sql")
	if err != nil || len(files) == 0 {
		panic("no migrations are embedded")
	}
	version, err := goose.NumericComponent(filepath.Base(files[len(files)-1]))
	if err != nil {
		panic(err)
	}
	return version
}

// migrate brings the tables up to date. The caller, or an option, makes sure
// that no other program does the same.
func (s *Store) migrate(ctx context.Context, d dialect, options ...goose.ProviderOption) error {
	files, err := fs.Sub(schema.Migrations, d.folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(d.goose, s.db, files, append(options, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
