package records

import (
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"carrel/drivers/disk"
	"carrel/plan"
)

// explain adds to an error which store it is about, and what to do where that is
// known.
func (s *Store) explain(err error) error {
	var conflict *ConflictError
	var claimed *plan.ClaimedError
	if err == nil || errors.As(err, &conflict) || errors.As(err, &claimed) {
		return err
	}
	if s.file != "" && noRoom(err) {
		if left := disk.Left(s.file); left != "" {
			return &roomError{fmt.Sprintf("store %s: %s", s.name, left), err}
		}
	}
	if hint := advice(err); hint != "" {
		return fmt.Errorf("store %s: %w (%s)", s.name, cause(err), hint)
	}
	return fmt.Errorf("store %s: %w", s.name, cause(err))
}

// roomError is the error of a write, or of what reading needs to write, on a filesystem
// that takes nothing more. What SQLite says of that is a number.
type roomError struct {
	text string
	err  error
}

func (e *roomError) Error() string { return e.text }
func (e *roomError) Unwrap() error { return e.err }

// noRoom reports whether an error may be that of a filesystem that takes nothing more.
func noRoom(err error) bool {
	var file *sqlite.Error
	if !errors.As(err, &file) {
		return disk.Full(err)
	}
	switch file.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}

// cause leaves out what pgx says about the connection: the store's name says it.
func cause(err error) error {
	var answer *pgconn.PgError
	var connect *pgconn.ConnectError
	var dial *net.OpError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &connect) && errors.As(err, &dial):
		return dial
	}
	return err
}

func advice(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		switch answer.Code {
		case "28P01", "28000":
			return "check the user and the password in --store"
		case "3D000":
			return "create the database, or name another in --store"
		case "42501":
			return "grant the user the right to create tables"
		case "53100":
			return "free space on the database's disk"
		}
		return ""
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return "is Postgres running, and is --store right?"
	}
	var file *sqlite.Error
	if errors.As(err, &file) {
		switch file.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return "free space on the disk of the state dir"
		case sqlite3.SQLITE_NOTADB:
			return "move the file away, or name another in --store"
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY:
			return "check the permissions of the state dir; carrel usually runs as root"
		case sqlite3.SQLITE_CORRUPT:
			return "restore it from a backup, or move it away: it is rebuilt from the containers"
		}
	}
	return ""
}
