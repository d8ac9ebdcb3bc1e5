package spec_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"carrel/spec"
)

// No input makes Load panic, and each fault is one line.
func FuzzLoad(f *testing.F) {
	for _, path := range archives(f, "testdata") {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name != result {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "a.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := spec.Load(path)
		if err == nil {
			if set.Name == "" {
				t.Error("neither a set nor an error")
			}
			return
		}
		if set.Name != "" || set.Workspaces != nil {
			t.Error("a set and an error")
		}
		var faults spec.Errors
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("no list of faults: %v", err)
		}
		for _, fault := range faults {
			if text := fault.Error(); strings.ContainsAny(text, "\n\r\x00") || fault.Pos.File != path {
				t.Errorf("not a line about the file: %q", text)
			}
		}
	})
}

// No input makes LoadPolicy or Check panic, and each fault is one line.
func FuzzPolicy(f *testing.F) {
	for _, path := range archives(f, "testdata/policy") {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	asked := spec.Default()
	asked.Image, asked.User = "docker.io/library/redis:7", "+0"
	asked.Devices = []string{"nvidia.com/gpu=0"}
	asked.Mounts = []spec.Mount{{Source: "/etc/none/x", Target: "/a"}}
	asked.Network.Ports = []spec.Port{{Host: 80, Container: 80, Protocol: "tcp"}}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		policy, err := spec.LoadPolicy(path)
		if err == nil {
			err = policy.Check([]spec.Workspace{asked})
		}
		if err == nil {
			return
		}
		var faults spec.Errors
		if !errors.As(err, &faults) || len(faults) == 0 {
			if len(content) <= 1<<20 {
				t.Fatalf("no list of faults: %v", err)
			}
			return
		}
		for _, fault := range faults {
			if text := fault.Error(); strings.ContainsAny(text, "\n\r\x00") {
				t.Errorf("not a line: %q", text)
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for _, size := range []struct{ documents, files int }{{50, 50}, {10_000, 100}} {
		b.Run(fmt.Sprintf("documents=%d", size.documents), func(b *testing.B) {
			dir := b.TempDir()
			for i := range size.files {
				var text strings.Builder
				for j := range size.documents / size.files {
					text.WriteString("---\n" + workspace(fmt.Sprintf("w%d-%d", i, j),
						"  env: [{name: A, value: b}]\n  resources: {limits: {cpu: 2, memory: 4Gi}}\n"))
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(text.String()), 0o600); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := spec.Load(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
