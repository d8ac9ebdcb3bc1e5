package drivers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carrel/drivers"
	"carrel/drivers/drivertest"
)

func TestMain(m *testing.M) { os.Exit(drivertest.Main(m)) }

// config is that of a host with folders of its own.
func config(t *testing.T) drivers.Config {
	daemon := drivertest.SharedContainerd(t)
	dir := t.TempDir()
	return drivers.Config{
		Host: "h", Address: daemon.Address, Namespace: daemon.Namespace(t),
		StateDir: filepath.Join(dir, "state"), RunDir: filepath.Join(dir, "run"), CNIConfDir: filepath.Join(dir, "net.d"),
	}
}

// open opens a host, which must succeed.
func open(t *testing.T, c drivers.Config) *drivers.Host {
	t.Helper()
	h, err := drivers.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestTheStateDirOfAnotherNamespaceIsRefused(t *testing.T) {
	c := config(t)
	file := filepath.Join(c.StateDir, "namespace")
	h := open(t, c)
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("opening wrote whose the state dir is: %v", err)
	}
	for range 2 {
		if err := h.ClaimStateDir(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	open(t, c)
	other := c
	other.Namespace += "-other"
	for range 2 {
		_, err := drivers.OpenReadOnly(t.Context(), other)
		want := "belongs to containerd namespace " + c.Namespace + ", not " + other.Namespace
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("error %v has no %q and %q", err, want, file)
		}
	}
}

// A full disk leaves an empty file, a crash may leave half of one.
func TestAnOwnerFileThatIsCutCountsAsNone(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "cut": "carr"} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			file := filepath.Join(c.StateDir, "namespace")
			if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			read, err := drivers.OpenReadOnly(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := read.Close(); err != nil {
				t.Fatal(err)
			}
			h := open(t, c)
			if got, err := os.ReadFile(file); err != nil || string(got) != text {
				t.Errorf("opening changed the file to %q, %v", got, err)
			}
			if err := h.ClaimStateDir(); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != c.Namespace+"\n" {
				t.Errorf("the file has %q, %v", got, err)
			}
		})
	}
}
