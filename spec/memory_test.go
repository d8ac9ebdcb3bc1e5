package spec_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/spec"
)

// remembered is a folder of specs that is loaded again and again.
type remembered struct {
	t      *testing.T
	root   string
	memory *spec.Memory
	policy spec.Policy
}

func newRemembered(t *testing.T) *remembered {
	root := filepath.Join(t.TempDir(), "specs")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return &remembered{t: t, root: root, memory: &spec.Memory{}}
}

// write writes a file; what is "" is removed, what is "dir" becomes a folder.
func (r *remembered) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	err := os.RemoveAll(path)
	switch {
	case err != nil:
	case content == "dir":
		err = os.Mkdir(path, 0o755)
	case content != "":
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// load gives what a load has: the set and its workspaces with their images, and
// the faults, with paths below the root.
func (r *remembered) load() string {
	r.t.Helper()
	set, faults, known := r.memory.Load(r.policy, "h", r.root)
	var b strings.Builder
	if known {
		fmt.Fprintf(&b, "set %s:", set.Name)
		for _, w := range set.Workspaces {
			fmt.Fprintf(&b, " %s=%s", w.Name, strings.TrimPrefix(w.Image, "docker.io/library/"))
		}
	} else {
		b.WriteString("unknown")
	}
	for _, fault := range faults {
		b.WriteString("\n" + strings.ReplaceAll(fault.Error(), r.root+"/", ""))
	}
	return strings.ReplaceAll(b.String(), r.root, "ROOT")
}

func (r *remembered) loads(want string) {
	r.t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), r.load()); diff != "" {
		r.t.Errorf("loaded (-want +got):\n%s", diff)
	}
}

// restart has the memory written and read, as by another run of the program.
func (r *remembered) restart() {
	r.t.Helper()
	text, err := json.Marshal(r.memory)
	if err == nil {
		r.memory = &spec.Memory{}
		err = json.Unmarshal(text, r.memory)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func bot(name, image string) string {
	return fmt.Sprintf("apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: %s}\nspec: {image: \"%s\"}\n---\n", name, image)
}

func named(set, image string) string {
	return fmt.Sprintf("apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: %s}\nspec: {defaults: {image: \"%s\"}}\n", set, image)
}

const (
	broken = "apiVersion: carrel/v1\nkind: Workspace\n  metadata: wrong\n"
	plain  = "apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: plain}\nspec: {}\n" // its image is the set's default
)

func TestAFaultyFileStands(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		r := newRemembered(t)
		then := func(want string) {
			t.Helper()
			r.loads(want)
			if restarts {
				r.restart()
			}
		}
		r.write("a.yaml", bot("a", "x:1"))
		r.write("b.yaml", bot("b", "x:1"))
		then("set default: a=x:1 b=x:1")
		r.write("a.yaml", broken)
		r.write("b.yaml", bot("b", "x:2"))
		fault := "\na.yaml:3:1: not valid YAML: mapping values are not allowed in this context"
		then("set default: a=x:1 b=x:2" + fault)
		r.write("b.yaml", "")
		then("set default: a=x:1" + fault)
		r.write("a.yaml", bot("a", "x:3"))
		then("set default: a=x:3")
		r.write("a.yaml", "# nothing\n")
		then("set default: a=x:3\na.yaml: it describes nothing now: what it described stands (describe it here, or delete the file)")
		r.write("a.yaml", "dir")
		r.write("c.yaml", bot("c", "x:1"))
		then("set default: c=x:1")
	}
}

func TestAVanishedFolderStands(t *testing.T) {
	r := newRemembered(t)
	r.write("a.yaml", bot("a", "x:1"))
	r.write("sub/b.yaml", bot("b", "x:1"))
	r.loads("set default: a=x:1 b=x:1")
	away := r.root + ".away"
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(r.root, away)
	r.loads("set default: a=x:1 b=x:1\nROOT: no such file or directory (check the path)")
	r.restart()
	if err := os.Mkdir(r.root, 0o755); err != nil {
		t.Fatal(err)
	}
	r.loads("set default: a=x:1 b=x:1\nROOT: no spec was found: nothing is taken as deleted " +
		"(a folder of specs has files that end in .yaml or .yml; one that shall have no workspace keeps its WorkspaceSet)")
	if err := os.Remove(r.root); err != nil {
		t.Fatal(err)
	}
	rename(away, r.root)
	r.loads("set default: a=x:1 b=x:1")
	r.write("sub", "")
	r.loads("set default: a=x:1") // a folder that was removed is a deletion
}

func TestAFileThatCannotBeReadStands(t *testing.T) {
	r := newRemembered(t)
	r.write("a.yaml", bot("a", "x:1"))
	r.write("b.yaml", bot("b", "x:1"))
	r.loads("set default: a=x:1 b=x:1")
	r.write("a.yaml", "")
	if err := os.Symlink("nowhere", filepath.Join(r.root, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.loads("set default: a=x:1 b=x:1\na.yaml: no such file or directory (check the path)")
}

func TestAFaultySetStands(t *testing.T) {
	r := newRemembered(t)
	r.write("set.yaml", named("bots", "x:1"))
	r.write("a.yaml", plain)
	r.loads("set bots: plain=x:1")
	r.restart()
	r.write("set.yaml", strings.Replace(named("bots", "x:2"), "defaults", "defaullts", 1))
	r.write("b.yaml", bot("b", "x:3"))
	r.loads("set bots: b=x:3 plain=x:1\nset.yaml:4:8: unknown field \"defaullts\" in spec (did you mean \"defaults\"?)")
	r.write("set.yaml", named("bots", "x:2"))
	r.loads("set bots: b=x:3 plain=x:2")
}

func TestASetThatWasNeverReadIsUnknown(t *testing.T) {
	r := newRemembered(t)
	r.write("set.yaml", strings.Replace(named("bots", "x:2"), "defaults", "defaullts", 1))
	r.write("b.yaml", bot("b", "x:3"))
	if got := r.load(); !strings.HasPrefix(got, "unknown\n") || !strings.Contains(got, "nothing is applied: what cannot be read may name the set") {
		t.Errorf("loaded %s", got)
	}
	r.write("set.yaml", named("bots", "x:2"))
	r.loads("set bots: b=x:3")
}

func TestAWorkspaceThatMovedToAFaultyFileStands(t *testing.T) {
	r := newRemembered(t)
	r.write("a.yaml", bot("a", "x:1")+bot("moved", "x:1")+bot("gone", "x:1"))
	r.write("b.yaml", bot("b", "x:1"))
	r.loads("set default: a=x:1 b=x:1 gone=x:1 moved=x:1")
	r.write("a.yaml", bot("a", "x:2"))
	r.write("b.yaml", bot("b", "x:2")+bot("moved", "X X"))
	if got := r.load(); !strings.HasPrefix(got, "set default: a=x:2 b=x:1 moved=x:1\nb.yaml:") {
		t.Errorf("loaded %s", got)
	}
	r.restart()
	if got := r.load(); !strings.HasPrefix(got, "set default: a=x:2 b=x:1 moved=x:1\nb.yaml:") {
		t.Errorf("after a restart, loaded %s", got)
	}
	r.write("b.yaml", bot("b", "x:2")+bot("moved", "x:2"))
	r.loads("set default: a=x:2 b=x:2 moved=x:2")
}

func TestFaultsAcrossFilesStand(t *testing.T) {
	r := newRemembered(t)
	r.write("a.yaml", bot("a", "x:1"))
	r.write("b.yaml", bot("b", "x:1"))
	r.loads("set default: a=x:1 b=x:1")
	r.write("b.yaml", bot("a", "x:2"))
	r.loads("set default: a=x:1 b=x:1\nb.yaml:3:18: workspace a is described twice, first at a.yaml:3:18 (give one of them another name)")
	r.write("c.yaml", bot("b", "x:3")) // b of the last good b.yaml stands
	if got := r.load(); !strings.HasPrefix(got, "set default: a=x:1 b=x:1\n") || strings.Count(got, "\n") != 2 {
		t.Errorf("loaded %s", got)
	}
	r.write("b.yaml", "")
	r.loads("set default: a=x:1 b=x:3")
}

func TestATightenedPolicyLeavesAlone(t *testing.T) {
	r := newRemembered(t)
	r.write("a.yaml", bot("a", "x:1"))
	r.write("b.yaml", bot("b", "y:1"))
	r.loads("set default: a=x:1 b=y:1")
	r.policy.Images = []string{"docker.io/library/y:*"}
	set, faults, known := r.memory.Load(r.policy, "h", r.root)
	if !known || len(set.Workspaces) != 1 || len(faults) != 1 || !set.Doubts(filepath.Join(r.root, "a.yaml")) || set.Doubts(filepath.Join(r.root, "b.yaml")) {
		t.Errorf("known %v, set %+v, faults %v", known, set, faults)
	}
	r.policy.Images = nil
	r.loads("set default: a=x:1 b=y:1")
}

func TestFoldersOfFilesAndLinks(t *testing.T) {
	r := newRemembered(t)
	r.write("..1/a.yaml", bot("a", "x:1"))
	r.write("sub/deep/b.yaml", bot("b", "x:1"))
	for link, target := range map[string]string{"..data": "..1", "a.yaml": "..data/a.yaml"} {
		if err := os.Symlink(target, filepath.Join(r.root, link)); err != nil {
			t.Fatal(err)
		}
	}
	set, faults, _ := r.memory.Load(spec.Policy{}, "h", r.root)
	if faults != nil {
		t.Fatal(faults)
	}
	root, err := filepath.EvalSymlinks(r.root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{root, root + "/..1", root + "/sub", root + "/sub/deep"}, set.Folders); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
}

func TestABrokenMemoryIsAnError(t *testing.T) {
	for _, text := range []string{`{"version": 2}`, `{}`, `[]`, `{`} {
		if err := json.Unmarshal([]byte(text), &spec.Memory{}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestMemoryKeepsItsPromise edits files at random, and checks each load against
// a model: what a faulty file described when it was good is there as it was, and
// what good files describe is there as it is.
func TestMemoryKeepsItsPromise(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := newRemembered(t)
		good := map[string]map[string]string{} // by file, what it described: name to image
		faulty := map[string]bool{}
		r.write("set.yaml", named("s", "x:0"))
		for step := range 40 {
			file := fmt.Sprintf("%d.yaml", random.IntN(4))
			describes := map[string]string{}
			content := ""
			for i := range random.IntN(3) {
				name, image := fmt.Sprintf("%c%d", 'a'+file[0]-'0', i), fmt.Sprintf("x:%d", step)
				describes[name] = image
				content += bot(name, image)
			}
			switch kind := random.IntN(6); {
			case kind == 0:
				r.write(file, "")
				delete(good, file)
				delete(faulty, file)
			case kind == 1 || content == "":
				r.write(file, content+"spec: [")
				faulty[file] = true
			default:
				r.write(file, content)
				good[file] = describes
				delete(faulty, file)
			}
			if random.IntN(5) == 0 {
				r.restart()
			}
			set, faults, known := r.memory.Load(spec.Policy{}, "h", r.root)
			got, want := map[string]string{}, map[string]string{}
			for _, w := range set.Workspaces {
				got[w.Name] = strings.TrimPrefix(w.Image, "docker.io/library/")
			}
			for _, all := range good {
				for name, image := range all {
					want[name] = image
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || !known || len(faulty) > 0 != (len(faults) > 0) {
				t.Fatalf("seed %d, step %d: known %v, faulty %v, faults %v (-want +got):\n%s", seed, step, known, faulty, faults, diff)
			}
		}
	}
}
