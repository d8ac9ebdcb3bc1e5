package records_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"

	"carrel/drivers/drivertest"
	"carrel/drivers/records"
	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

func TestMain(m *testing.M) { os.Exit(drivertest.Main(m)) }

// databases are the two dialects: a function that gives the URL of a new one.
var databases = map[string]func(t testing.TB) string{
	"sqlite":   func(t testing.TB) string { return "sqlite://" + filepath.Join(t.TempDir(), "new", "records.db") },
	"postgres": func(t testing.TB) string { return drivertest.SharedPostgres(t).Database(t) },
}

func open(t testing.TB, url string) *records.Store {
	t.Helper()
	s, err := records.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRecords(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			drivertest.RunRecords(t, func(t *testing.T) drivertest.Store { return open(t, url(t)) })
		})
	}
}

func entry(step, problem string) state.Entry {
	return state.Entry{
		Time: time.Unix(1, 2000).UTC(), Who: "ann@h", Plan: "0123456789ab", Workspace: "bot",
		Action: string(decide.ActionCreate), Step: step, Duration: 1500 * time.Microsecond, Error: problem,
	}
}

func TestHistoryIsKeptWithTheRecord(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			s := open(t, url(t))
			r := state.Record{Workspace: "bot", Set: "s", Host: "h"}
			written := []state.Entry{entry("create", ""), entry("record", "")}
			if err := s.SaveRecord(t.Context(), plan.SaveRecord{Record: r}, written); err != nil {
				t.Fatal(err)
			}
			r.StoppedByUser = true
			err := s.SaveRecord(t.Context(), plan.SaveRecord{Record: r}, []state.Entry{entry("lost", "")})
			var conflict *records.ConflictError
			if !errors.As(err, &conflict) || conflict.Who != "ann@h" || !strings.Contains(err.Error(), "changed by ann@h at") {
				t.Errorf("a lost race: the error is %v", err)
			}
			if err := s.SaveFailure(t.Context(), state.Failure{Workspace: "bot", Set: "s", Host: "h", Error: "x"}, []state.Entry{entry("start", "x")}); err != nil {
				t.Fatal(err)
			}
			got, err := s.History(t.Context(), records.Query{Workspace: "bot"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]state.Entry{entry("start", "x"), entry("record", ""), entry("create", "")}, got); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if one, err := s.History(t.Context(), records.Query{Limit: 1}); err != nil || len(one) != 1 {
				t.Errorf("one entry is %v, %v", one, err)
			}
			if none, err := s.History(t.Context(), records.Query{Workspace: "other"}); err != nil || len(none) != 0 {
				t.Errorf("history of another is %v, %v", none, err)
			}
		})
	}
}

func TestOpenedByManyAtOnce(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			target := url(t)
			var group sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				group.Go(func() {
					s, err := records.Open(t.Context(), target)
					if err == nil {
						r := state.Record{Workspace: fmt.Sprintf("w%d", i), Set: "s", Host: "h"}
						err = errors.Join(s.SaveRecord(t.Context(), plan.SaveRecord{Record: r}, nil), s.Close())
					}
					errs[i] = err
				})
			}
			group.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			if all, err := open(t, target).Records(t.Context()); err != nil || len(all) != len(errs) {
				t.Errorf("%d records, %v", len(all), err)
			}
		})
	}
}

// Two programs that change the journal mode of a file at the same time refuse
// each other, whatever the busy timeout is: so they do it one after the other.
func TestOneProgramAtATimePreparesAFile(t *testing.T) {
	target := databases["sqlite"](t)
	open(t, target).Close()
	path := strings.TrimPrefix(target, "sqlite://")
	mode := func(pragma, want string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var got string
		if err := db.QueryRow(pragma).Scan(&got); err != nil || got != want {
			t.Errorf("journal mode %s, not %s: %v", got, want, err)
		}
	}
	mode("PRAGMA journal_mode(DELETE)", "delete")
	other := flock.New(path + ".migrating") // of another program
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := records.Open(ctx, target); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened meanwhile: %v", err)
	}
	mode("PRAGMA journal_mode", "delete")
	if err := other.Unlock(); err != nil {
		t.Fatal(err)
	}
	open(t, target)
	mode("PRAGMA journal_mode", "wal")
}

func TestReadOnlyMakesNothing(t *testing.T) {
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			target := url(t)
			s, err := records.OpenReadOnly(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if all, err := s.Records(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("records of a store that does not exist: %v, %v", all, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if path, ok := strings.CutPrefix(target, "sqlite://"); ok {
				if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
					t.Errorf("looking made the store's folder: %v", err)
				}
			}
			w := open(t, target)
			if err := w.SaveRecord(t.Context(), plan.SaveRecord{Record: state.Record{Workspace: "bot"}}, nil); err != nil {
				t.Fatal(err)
			}
			if s, err = records.OpenReadOnly(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if all, err := s.Records(t.Context()); err != nil || len(all) != 1 {
				t.Errorf("records: %v, %v", all, err)
			}
		})
	}
}

func TestNewerStoreIsRefused(t *testing.T) {
	drivers := map[string]string{"sqlite": "sqlite", "postgres": "pgx"}
	for name, url := range databases {
		t.Run(name, func(t *testing.T) {
			target := url(t)
			open(t, target)
			source := strings.TrimPrefix(target, "sqlite://")
			db, err := sql.Open(drivers[name], source)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)"); err != nil {
				t.Fatal(err)
			}
			for _, open := range []func(context.Context, string) (*records.Store, error){records.Open, records.OpenReadOnly} {
				if _, err := open(t.Context(), target); err == nil || !strings.Contains(err.Error(), "newer carrel") {
					t.Errorf("a newer store: the error is %v", err)
				}
			}
		})
	}
}

func TestOpeningACurrentStoreWritesNothing(t *testing.T) {
	target := databases["sqlite"](t)
	open(t, target).Close()
	path := strings.TrimPrefix(target, "sqlite://")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	open(t, target).Close()
	after, err := os.ReadFile(path)
	if err != nil || string(before) != string(after) {
		t.Errorf("opening changed the file, %v", err)
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("opening wrote %d bytes to the log", info.Size())
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	pg := drivertest.SharedPostgres(t)
	for _, test := range []struct{ url, want string }{
		{"mysql://x", "begins with sqlite:// or postgres://"},
		{"sqlite://", "the path of a file"},
		{"sqlite://" + text, "move the file away"},
		{"sqlite://" + text + "/below.db", "not a directory"},
		{"postgres://u:geheim@127.0.0.1:1/db", "is Postgres running"},
		{"postgres://u:geheim@[bad", "not a valid URL"},
		{"postgres:///db?host=" + dir + "&password=geheim", "is Postgres running"},
		{pg.URL("none"), "create the database"},
	} {
		_, err := records.Open(t.Context(), test.url)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", test.url, err, test.want)
		}
	}
}

func TestFullDiskIsAFailedWrite(t *testing.T) {
	target := databases["sqlite"](t)
	open(t, target).Close()
	s := open(t, target)
	_, err := records.Exec(s, "PRAGMA max_page_count = 1")
	if err != nil {
		t.Fatal(err)
	}
	long := spec.Default()
	long.Args = []string{strings.Repeat("x", 1<<20)}
	err = s.SaveRecord(t.Context(), plan.SaveRecord{Record: state.Record{Workspace: "bot", Applied: &long}}, []state.Entry{entry("record", "")})
	if err == nil || !strings.Contains(err.Error(), "free space") {
		t.Errorf("a full disk: the error is %v", err)
	}
	if all, err := s.Records(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("records after the failed write: %v, %v", all, err)
	}
	if all, err := s.History(t.Context(), records.Query{}); err != nil || len(all) != 0 {
		t.Errorf("history after the failed write: %v, %v", all, err)
	}
}

func TestStoreThatGoesAwayAndComesBack(t *testing.T) {
	server := drivertest.NewPostgres(t)
	s := open(t, server.Database(t))
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	step := plan.SaveRecord{Record: state.Record{Workspace: "bot"}}
	if err := s.SaveRecord(t.Context(), step, nil); err == nil {
		t.Error("a write to a store that is gone went well")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveRecord(t.Context(), step, nil); err != nil {
		t.Errorf("a write after the store came back: %v", err)
	}
}

func BenchmarkRecords(b *testing.B) {
	for name, url := range databases {
		b.Run(name, func(b *testing.B) {
			s := open(b, url(b))
			applied := spec.Default()
			for i := range 10_000 {
				r := state.Record{Workspace: fmt.Sprintf("w%d", i), Set: "s", Host: "h", Applied: &applied}
				if err := s.SaveRecord(context.Background(), plan.SaveRecord{Record: r}, nil); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if all, err := s.Records(context.Background()); err != nil || len(all) != 10_000 {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}
