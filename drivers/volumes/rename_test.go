package volumes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carrel/drivers/volumes"
	"carrel/plan"
)

func TestRenameDataMovesTheVolumeAndWhatTheSetPreserved(t *testing.T) {
	dir := t.TempDir()
	d, at := volumes.New(dir), time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, set := range []string{"s", "t"} {
		write("volumes/bot/note", set)
		if err := d.PreserveData(t.Context(), plan.PreserveData{Workspace: "bot", Set: set, At: at.Add(time.Duration(i))}); err != nil {
			t.Fatal(err)
		}
	}
	write("volumes/bot/note", "now")
	step := plan.RenameData{From: "bot", To: "robot", Set: "s"}
	for range 2 { // the second time it was done before
		if err := d.RenameData(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "volumes/robot/note")); err != nil || string(text) != "now" {
		t.Errorf("the volume: %q, %v", text, err)
	}
	kept, err := d.Preserved(t.Context())
	if err != nil || len(kept) != 2 || kept[0].Workspace != "robot" || kept[0].Set != "s" || kept[1].Workspace != "bot" || kept[1].Set != "t" {
		t.Errorf("preserved: %+v, %v", kept, err)
	}
	write("volumes/bot/note", "another")
	if err := d.RenameData(t.Context(), step); err == nil || !strings.Contains(err.Error(), "robot has a volume already (plan again)") {
		t.Errorf("over a volume: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "volumes/robot/note")); err != nil || string(text) != "now" {
		t.Errorf("the volume after that: %q, %v", text, err)
	}
}
