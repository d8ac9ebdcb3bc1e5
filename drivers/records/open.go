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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"carrel/drivers/disk"
)

// dialect is what differs between the two databases. The queries are the same.
type dialect struct {
	goose    goose.Dialect
	folder   string // that has its migrations
	migrated string // a query that counts the tables of migrations: 0 before the first one
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

// Open opens a store for writing. It makes the file of SQLite and migrates the
// tables where that is needed, and otherwise writes nothing. The URL is
// sqlite:// and a path, or postgres://.
func Open(ctx context.Context, url string) (*Store, error) {
	target, err := parse(url)
	if err != nil {
		return nil, err
	}
	if target.file != "" {
		if err := makeFile(target.file); err != nil {
			return nil, (&Store{name: target.name, file: target.file}).explain(err)
		}
	}
	s, err := target.open(ctx, readWrite)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, target); err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	s.have = newest(target.dialect)
	return s, nil
}

// OpenReadOnly opens a store for reading. A store that does not exist yet reads
// as empty; it is not made.
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
	s, have, err := target.openToRead(ctx, readOnly)
	for _, other := range []mode{unchanging, byOne} {
		if target.file == "" || !noRoom(err) || disk.Left(target.file) == "" { // these modes are for nothing else: one ignores locks, the other keeps one
			break
		}
		if read, version, failed := target.openToRead(ctx, other); failed == nil {
			s, have, err = read, version, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if have == 0 {
		return &Store{name: target.name}, s.Close()
	}
	s.have = have
	return s, nil
}

// OpenAnyway opens a store for writing, and for reading when it takes nothing at
// present, as on a full disk. Each write then tries again to open it, and has an
// UnwrittenError when that fails.
func OpenAnyway(ctx context.Context, url string) (*Store, error) {
	s, err := Open(ctx, url)
	if err == nil || !noRoom(err) {
		return s, err
	}
	read, failed := OpenReadOnly(ctx, url)
	if failed != nil {
		return nil, err
	}
	read.unwritten, read.url = err, url
	return read, nil
}

// openToRead opens a store that exists, and gives the version of its tables.
func (t target) openToRead(ctx context.Context, how mode) (*Store, int64, error) {
	if how == unchanging && t.hasLog() {
		return nil, 0, errors.New("what was written last is in its log") // which this mode does not read
	}
	s, err := t.open(ctx, how)
	if err != nil {
		return nil, 0, err
	}
	have, err := s.version(ctx, t.dialect)
	if err != nil {
		return nil, 0, errors.Join(s.explain(err), s.Close())
	}
	return s, have, nil
}

// hasLog reports whether the write-ahead log of a file has anything. While a program
// has the file open for writing, it has.
func (t target) hasLog() bool {
	info, err := os.Stat(t.file + "-wal")
	return err == nil && info.Size() > 0
}

// mode is how a SQLite file is opened, as a part of its URL. Reading a file with a
// write-ahead log needs its index, a file of shared memory beside it, which cannot be
// made on a full disk.
type mode string

const (
	readWrite  mode = ""
	readOnly   mode = "&mode=ro"
	unchanging mode = "&mode=ro&immutable=1"             // without the log and any lock: no other program has the file open
	byOne      mode = "&_pragma=locking_mode(EXCLUSIVE)" // with the index in memory: no other program has the file open
)

// target is a parsed store URL.
type target struct {
	name    string // the URL, without the password
	dialect dialect
	file    string          // of SQLite; "" for Postgres
	config  *pgx.ConnConfig // of Postgres; nil for SQLite
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
	return target{}, errors.New("store: want a URL that begins with sqlite:// or postgres://") // not printed: it may hold a password
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

func (t target) open(ctx context.Context, how mode) (*Store, error) {
	s := &Store{name: t.name, shared: t.config != nil, file: t.file}
	if t.config != nil {
		s.db = stdlib.OpenDB(*t.config)
	} else {
		busy := fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())
		options := url.Values{"_pragma": {busy, "synchronous(FULL)", "foreign_keys(1)"}, "_txlock": {"immediate"}}
		file := url.URL{Scheme: "file", Path: t.file, RawQuery: options.Encode() + string(how)}
		db, err := sql.Open("sqlite", file.String())
		if err != nil {
			return nil, s.explain(err)
		}
		if s.db = db; how == byOne {
			db.SetMaxOpenConns(1)
		}
	}
	if err := s.db.PingContext(ctx); err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	if t.file != "" {
		opened, err := os.Stat(t.file)
		if err != nil {
			return nil, errors.Join(s.explain(err), s.Close())
		}
		s.opened = opened
	}
	return s, nil
}

// makeFile makes an empty SQLite file that only its owner can read, if there is
// none.
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
