// Package carrel_test checks the architecture: which folder may import which.
package carrel_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport are the folders of this module that each folder may import, in code
// that is not a test. A folder that is not here may not exist.
var mayImport = map[string][]string{
	"schema":         {},
	"spec":           {"schema", "spec/document"},
	"spec/document":  {},
	"spec/lastvalid": {"spec"},
	"spec/policy":    {"schema", "spec", "spec/document"},
	"spec/spectest":  {},

	"plan/state":       {"spec"},
	"plan/decide":      {"plan/state", "spec"},
	"plan":             {"plan/decide", "plan/state", "spec"},
	"plan/report":      {"plan", "plan/decide", "plan/state", "spec"},
	"plan/report/page": {"plan/decide", "plan/report", "plan/state"},

	"apply":                 {"plan", "plan/state", "spec"},
	"apply/watch":           {"apply", "plan", "plan/decide", "plan/state", "spec"},
	"apply/watch/files":     {},
	"apply/watch/agenthost": {"apply/watch", "plan/state"},

	"drivers/containerd":        {"drivers/containerd/images", "plan", "plan/state", "schema", "spec"},
	"drivers/containerd/images": {"plan", "plan/state", "spec"},
	"drivers/cni":               {"drivers/disk", "plan", "plan/state", "schema", "spec"},
	"drivers/cdi":               {"plan", "plan/state", "schema", "spec"},
	"drivers/volumes":           {"plan", "plan/state", "schema", "spec"},
	"drivers/disk":              {},
	"drivers/records":           {"drivers/disk", "plan", "plan/state", "schema", "spec", "drivers/records/query"},
	"drivers/records/query":     {},
	"drivers":                   {"drivers/cdi", "drivers/cni", "drivers/containerd", "drivers/records", "drivers/volumes", "plan", "plan/state", "spec"},
	"drivers/drivertest":        {"plan", "plan/state", "schema", "spec"},
	"drivers/drivertest/guest":  {},
	"drivers/drivertest/memory": {"plan", "plan/state", "spec"},

	"cmd/carrel": {
		"apply", "apply/watch", "apply/watch/agenthost", "apply/watch/files", "drivers", "drivers/cdi", "drivers/containerd", "drivers/disk", "drivers/records", "drivers/volumes",
		"plan", "plan/decide", "plan/report", "plan/report/page", "plan/state", "schema", "spec", "spec/lastvalid", "spec/policy",
	},
	"examples/bot":       {},
	"examples/bot/image": {},
	".":                  {},
}

// pure are the packages that the planner and what it reads may import from
// outside this module: none that could look at the world.
var pure = []string{
	"cmp", "crypto/sha256", "encoding/hex", "encoding/json", "fmt", "io", "maps", "reflect", "slices", "strings", "errors", "iter",
	"time", // for values: no clock is read
}

// planning are the folders that must be pure.
var planning = []string{"plan", "plan/decide", "plan/state", "plan/report"}

func TestImports(t *testing.T) {
	seen := 0
	eachImport(t, func(file, folder, path string) {
		seen++
		local, ours := strings.CutPrefix(path, "carrel/")
		allowed, known := mayImport[folder]
		switch {
		case !known:
			t.Errorf("%s: folder %s is not in the architecture", file, folder)
		case strings.HasSuffix(file, "_test.go"):
		case ours && !slices.Contains(allowed, local):
			t.Errorf("%s: %s may not import %s", file, folder, local)
		case !ours && slices.Contains(planning, folder) && !slices.Contains(pure, path):
			t.Errorf("%s: %s may not import %s", file, folder, path)
		}
	})
	if seen < 100 {
		t.Fatalf("only %d imports were looked at", seen)
	}
}

// TestPlanningReadsNoClock: the time comes with the observation.
func TestPlanningReadsNoClock(t *testing.T) {
	clock := regexp.MustCompile(`\btime\.(Now|Since|Until|After|Tick|Sleep|NewTimer|NewTicker)\(`)
	for _, folder := range planning {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", folder, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if found := clock.Find(text); found != nil && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s reads a clock: %s", file, found)
			}
		}
	}
}

func eachImport(t *testing.T, visit func(file, folder, path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && file != "." || file == "tools" || file == "bin" || file == "demo") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range parsed.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			visit(file, filepath.ToSlash(filepath.Dir(file)), path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
