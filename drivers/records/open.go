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
			return nil, fmt.Errorf("store %s: %w", target.name, err)
		}
	}
	s, err := target.open(ctx, false)
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

func (t target) open(ctx context.Context, readOnly bool) (*Store, error) {
	s := &Store{name: t.name, shared: t.config != nil}
	if t.config != nil {
		s.db = stdlib.OpenDB(*t.config)
	} else {
		busy := fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())
		options := url.Values{"_pragma": {busy, "synchronous(FULL)", "foreign_keys(1)"}, "_txlock": {"immediate"}}
		if readOnly {
			options.Set("mode", "ro")
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
