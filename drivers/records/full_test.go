package records_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"carrel/drivers/drivertest"
	"carrel/drivers/records"
	"carrel/plan"
	"carrel/plan/state"
)

// use writes into a folder until its filesystem takes nothing more.
func use(t *testing.T, path string) {
	f, err := os.Create(path)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f.Close()
}

var saved = plan.SaveRecord{Record: state.Record{Workspace: "bot", Set: "s", Host: "h", Container: "bot"}}

// save makes a store with one record.
func save(t *testing.T, url string) {
	s := open(t, url)
	if err := s.SaveRecord(t.Context(), saved, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// expectRecord checks that a store can be read.
func expectRecord(t *testing.T, s *records.Store, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	all, err := s.Records(t.Context())
	if err != nil || len(all) != 1 || all[0].Workspace != "bot" {
		t.Errorf("records %+v, error %v", all, err)
	}
}

func TestAStoreOnAFullDiskIsRead(t *testing.T) {
	dir := drivertest.Disk(t, "size=1m")
	url := "sqlite://" + dir + "/records.db"
	save(t, url)
	use(t, dir+"/fill")
	want := "the filesystem at " + dir + " is full: 0B of 1MiB left (make room there)"
	if _, err := records.Open(t.Context(), url); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("open: %v", err)
	}
	read, err := records.OpenReadOnly(t.Context(), url)
	expectRecord(t, read, err)
	s, err := records.OpenAnyway(t.Context(), url)
	expectRecord(t, s, err)

	other := saved
	other.Record.Workspace = "other"
	err = s.SaveRecord(t.Context(), other, nil)
	var unwritten *plan.UnwrittenError
	if !errors.As(err, &unwritten) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("a write: %v", err)
	}
	if err := os.Remove(dir + "/fill"); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveRecord(t.Context(), other, nil); err != nil {
		t.Errorf("a write when there is room again: %v", err)
	}
}

func TestAStoreWithoutInodesIsRead(t *testing.T) {
	dir := drivertest.Disk(t, "size=8m,nr_inodes=3")
	url := "sqlite://" + dir + "/records.db"
	full := t.TempDir()
	save(t, "sqlite://"+full+"/records.db")
	copyFile(t, full+"/records.db", dir+"/records.db")
	if err := os.WriteFile(dir+"/last", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := records.OpenReadOnly(t.Context(), url)
	expectRecord(t, read, err)
	if _, err := records.Open(t.Context(), url); err == nil || !strings.HasSuffix(err.Error(), "has no inodes left: all 3 are in use (delete files there)") {
		t.Errorf("open: %v", err)
	}
}

// What a program that was killed wrote last is in the log, and its index may be lost.
func TestALogOnAFullDiskIsRead(t *testing.T) {
	dir, full := drivertest.Disk(t, "size=2m"), t.TempDir()
	s := open(t, "sqlite://"+full+"/records.db")
	if err := s.SaveRecord(t.Context(), saved, nil); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"records.db", "records.db-wal"} {
		copyFile(t, filepath.Join(full, file), filepath.Join(dir, file))
	}
	use(t, dir+"/fill")
	read, err := records.OpenReadOnly(t.Context(), "sqlite://"+dir+"/records.db")
	expectRecord(t, read, err)
}

func copyFile(t *testing.T, from, to string) {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
