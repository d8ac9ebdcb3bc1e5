package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Postgres is a private server that listens on a unix socket only.
type Postgres struct {
	Dir string

	bin     string
	process *process
}

// StartPostgres makes a server below dir, or below a new folder when dir is
// empty. Postgres refuses to run as root, so root runs it as nobody.
func StartPostgres(dir string) (*Postgres, error) {
	bin, err := postgresDir()
	if err != nil {
		return nil, err
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "pg"); err != nil {
			return nil, err
		}
	}
	p := &Postgres{Dir: dir, bin: bin}
	identity, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.data()); errors.Is(err, os.ErrNotExist) {
		initdb := exec.Command(filepath.Join(bin, "initdb"), "--no-sync", "--auth=trust", "--username=carrel", "--encoding=UTF8", "-D", p.data())
		initdb.SysProcAttr, initdb.Dir = &syscall.SysProcAttr{Credential: identity}, dir
		if out, err := initdb.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("initdb: %w: %s", err, out)
		}
	}
	return p, p.Start()
}

func (p *Postgres) data() string { return filepath.Join(p.Dir, "data") }

// Start starts the server again after Kill.
func (p *Postgres) Start() error {
	identity, err := unprivileged(p.Dir)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), "-D", p.data(), "-k", p.Dir, "-c", "listen_addresses=", "-c", "fsync=off")
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: identity}, p.Dir
	if p.process, err = start(cmd); err != nil {
		return err
	}
	return p.process.until(func() error { return p.run("SELECT 1") })
}

// Kill ends the server at once.
func (p *Postgres) Kill() error { return p.process.end(syscall.SIGQUIT) }

// Stop ends the server and removes its folder.
func (p *Postgres) Stop() error {
	return errors.Join(p.process.end(syscall.SIGINT), os.RemoveAll(p.Dir))
}

// URL is that of a database of the server.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://carrel@/%s?host=%s", database, p.Dir)
}

func (p *Postgres) run(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

var databases atomic.Int64

// Database makes an empty database and returns its URL.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := p.run("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return p.URL(name)
}

// NewPostgres is a server for one test, for those that end it.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	p, err := StartPostgres("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("stop Postgres: %v", err)
		}
	})
	return p
}

// SharedPostgres is the server that the tests of a package share; Main ends it.
func SharedPostgres(t testing.TB) *Postgres {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.postgres == nil {
		p, err := StartPostgres("")
		if err != nil {
			t.Fatal(err)
		}
		shared.postgres = p
	}
	return shared.postgres
}

// postgresDir is the folder with Postgres' programs, which is not in the PATH on Debian.
func postgresDir() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("postgres is needed (make setup installs it)")
	}
	return filepath.Dir(slices.Max(found)), nil
}

// unprivileged is the user that Postgres runs as, who becomes the owner of dir. It is
// nil when that is the user of this process.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}
