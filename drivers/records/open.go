package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"carrel/schema"
)

// dialect is what differs between the two databases. The queries do not.
type dialect struct {
	goose    goose.Dialect
	folder   string // of its migrations
	migrated string // a query for whether there ever was a migration
}

var (
	inSQLite = dialect{
		goose: goose.DialectSQLite3, folder: "migrations/sqlite",
		migrated: "SELECT count(*) FROM sqlite_master WHERE name = 'goose_db_version'",
	}
	inPostgres = dialect{
		goose: goose.DialectPostgres, folder: "migrations/postgres",
		migrated: "SELECT count(to_regclass('goose_db_version'))",
	}
)

// Open opens a store for writing, and brings its tables up to date. When they
// are, it writes nothing. The URL is sqlite:// and a path, or postgres://.
func Open(ctx context.Context, url string) (*Store, error) {
	target, err := parse(url)
	if err != nil {
		return nil, err
	}
	if target.file != "" {
		if err := makeFile(target.file); err != nil {
			return nil, fmt.Errorf("store %s: %w", target.name, err)
		}
	}
	s, err := target.open(ctx, false)
	if err != nil {
		return nil, err
	}
	have, err := s.version(ctx, target.dialect)
	if err == nil && have < newest(target.dialect) {
		err = s.migrate(ctx, target)
	}
	s.have = newest(target.dialect)
	if err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	return s, nil
}

// OpenReadOnly opens a store to look at it. One that does not exist yet is
// empty, and is not made.
func OpenReadOnly(ctx context.Context, url string) (*Store, error) {
	target, err := parse(url)
	if err != nil {
		return nil, err
	}
	if target.file != "" {
		if _, err := os.Stat(target.file); errors.Is(err, fs.ErrNotExist) {
			return &Store{name: target.name}, nil
		}
	}
	s, err := target.open(ctx, true)
	if err != nil {
		return nil, err
	}
	have, err := s.version(ctx, target.dialect)
	if err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	if have == 0 {
		return &Store{name: target.name}, s.Close()
	}
	s.have = have
	return s, nil
}

// target is a store's URL, taken apart.
type target struct {
	name    string // the URL, without the password
	dialect dialect
	file    string          // of SQLite
	config  *pgx.ConnConfig // of Postgres
}

func parse(store string) (target, error) {
	scheme, rest, _ := strings.Cut(store, "://")
	switch scheme {
	case "sqlite":
		path, err := filepath.Abs(rest)
		if rest == "" || err != nil {
			return target{}, fmt.Errorf("store %q: want sqlite:// and the path of a file", store)
		}
		return target{name: "sqlite://" + path, dialect: inSQLite, file: path}, nil
	case "postgres", "postgresql":
		config, err := pgx.ParseConfig(store)
		if err != nil {
			return target{}, errors.New("store postgres://...: it is not a valid URL of Postgres (want postgres://user:password@host:port/database)")
		}
		// Prepared statements belong to a session, and behind PgBouncer the
		// next query may be in another one.
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		return target{name: withoutPassword(store), dialect: inPostgres, config: config}, nil
	}
	return target{}, errors.New("store: want a URL that begins with sqlite:// or postgres://") // it may hold a password
}

func withoutPassword(store string) string {
	u, err := url.Parse(store)
	if err != nil {
		return "postgres://..."
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	query := u.Query()
	query.Del("password")
	query.Del("sslpassword")
	u.RawQuery = query.Encode()
	return u.String()
}

func (t target) open(ctx context.Context, readOnly bool) (*Store, error) {
	s := &Store{name: t.name, shared: t.config != nil}
	if t.config != nil {
		s.db = stdlib.OpenDB(*t.config)
	} else {
		options := url.Values{"_pragma": {"busy_timeout(30000)", "synchronous(FULL)", "foreign_keys(1)"}, "_txlock": {"immediate"}}
		if readOnly {
			options.Set("mode", "ro")
		} else {
			options.Add("_pragma", "journal_mode(WAL)")
		}
		file := url.URL{Scheme: "file", Path: t.file, RawQuery: options.Encode()}
		db, err := sql.Open("sqlite", file.String())
		if err != nil {
			return nil, s.explain(err)
		}
		s.db = db
	}
	if err := s.db.PingContext(ctx); err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	if t.file != "" {
		opened, err := os.Stat(t.file)
		if err != nil {
			return nil, errors.Join(s.explain(err), s.Close())
		}
		s.file, s.opened = t.file, opened
	}
	return s, nil
}

// makeFile makes an empty SQLite file that only its owner can read.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
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

// newest is the version that this program brings.
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

// migrate brings the tables up to date while no other program does: Postgres
// has a table for that lock, for a lock of the session breaks behind
// PgBouncer, and SQLite a file beside it.
func (s *Store) migrate(ctx context.Context, t target) (err error) {
	files, err := fs.Sub(schema.Migrations, t.dialect.folder)
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if t.file != "" {
		file := flock.New(t.file + ".migrating")
		if err := file.Lock(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Unlock()) }()
	} else {
		locker, err := lock.NewPostgresTableLocker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithLocker(locker))
	}
	provider, err := goose.NewProvider(t.dialect.goose, s.db, files, options...)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
