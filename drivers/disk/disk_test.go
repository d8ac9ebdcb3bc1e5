package disk_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"carrel/drivers/disk"
	"carrel/drivers/drivertest"
)

func TestLeft(t *testing.T) {
	full := drivertest.Disk(t, "size=64k")
	if err := os.WriteFile(filepath.Join(full, "fill"), make([]byte, 65<<10), 0o600); !disk.Full(err) {
		t.Fatalf("writing more than there is room: %v", err)
	}
	inodes := drivertest.Disk(t, "size=4m,nr_inodes=2")
	if err := os.WriteFile(filepath.Join(inodes, "one"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(inodes, "two"), 0o700); !disk.Full(err) {
		t.Fatalf("making more than there are inodes: %v", err)
	}
	readOnly := drivertest.Disk(t, "size=4m")
	if err := syscall.Mount("", readOnly, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		full:                            "the filesystem at " + full + " is full: 0B of 64KiB left (make room there)",
		filepath.Join(full, "fill"):     "the filesystem at " + full + " is full",
		filepath.Join(full, "no/such"):  "the filesystem at " + full + " is full",
		inodes:                          "the filesystem at " + inodes + " has no inodes left: all 2 are in use (delete files there)",
		filepath.Join(readOnly, "none"): "the filesystem at " + readOnly + " is read-only (mount it for writing)",
	} {
		if got := disk.Left(path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := disk.Left(drivertest.Disk(t, "size=64m")); got != "" {
		t.Errorf("a disk with room: %q", got)
	}
}
