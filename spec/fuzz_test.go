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
	"carrel/spec/spectest"
)

// No input makes Load panic, and each error is one line.
func FuzzLoad(f *testing.F) {
	for _, path := range spectest.Archives(f, "testdata") {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name != spectest.Result {
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
		var errs spec.Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("no list of errors: %v", err)
		}
		for _, e := range errs {
			if text := e.Error(); strings.ContainsAny(text, "\n\r\x00") || e.Pos.File != path {
				t.Errorf("not a line about the file: %q", text)
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
					text.WriteString("---\n" + spectest.Workspace(fmt.Sprintf("w%d-%d", i, j),
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
