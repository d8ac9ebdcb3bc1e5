package lastvalid_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/spec"
	"carrel/spec/lastvalid"
	"carrel/spec/policy"
	"carrel/spec/spectest"
)

// file is the one file of a store.
func file(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(dir + "/*.json")
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	return paths[0]
}

// again opens a store as the next run of the program does.
func again(t *testing.T, store *lastvalid.Store, paths ...string) *lastvalid.Store {
	t.Helper()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, "state", paths...)
}

// A file that cannot be read is never misread: the memory begins anew.
func TestStoreThatIsBroken(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "a.yaml", said("a"))
	store := open(t, "state", "a.yaml")
	load(t, store)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":              "unexpected end of JSON input",
		"{":             "unexpected end of JSON input",
		"[]":            "it cannot be read: json: cannot unmarshal array into Go value of type struct { Version *int }",
		"{}":            "it has no version",
		`{"version":2}`: "it has version 2, and this carrel reads up to 1 (install a newer carrel to use it)",
		`{"version":1,"files":[{"source":"/a","content":"!"}]}`:                       "it cannot be read: illegal base64 data at input byte 0",
		`{"version":1,"last":{"workspaces":[{"spec":{"stop":{"gracePeriod":"x"}}}]}}`: `it cannot be read: time: invalid duration "x"`,
		`{"version":1,"last":{"paths":["/b.yaml"],"name":"b"}}`:                       "it is of other paths: /b.yaml",
	} {
		spectest.Write(t, file(t, "state"), text)
		broken, err := lastvalid.Open("state", []string{"a.yaml"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("state/a42a65b8fa9d.json: "+want, fmt.Sprint(broken.Recall())); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
		spectest.Write(t, "a.yaml", said("half"))
		if load(t, broken).Known {
			t.Errorf("%s: something is known", text)
		}
		spectest.Write(t, "a.yaml", said("a"))
		if r := load(t, broken); !r.Known || len(r.Errors) > 0 {
			t.Errorf("%s: %v", text, r.Errors)
		}
		if err := broken.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What version 1 of the form says is read, whoever wrote it.
func TestStoreOfVersion1(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "specs/a.yaml", said("half"))
	path := filepath.Dir(absolute(t, "specs"))
	store := open(t, "state", path+"/specs")
	if load(t, store).Known {
		t.Fatal("something is known")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	encoded := func(words ...string) string { return base64.StdEncoding.EncodeToString([]byte(said(words...))) }
	name := strings.TrimSuffix(lockOf(t), ".lock")
	spectest.Write(t, name, strings.ReplaceAll(`{"version":1,
"files":[{"source":"$DIR/specs/a.yaml","content":"`+encoded("a=7")+`"},{"source":"$DIR/specs/set.yaml","content":"`+encoded("set:bots=/one")+`"}],
"last":{"paths":["$DIR/specs"],"name":"bots","set":{"source":"$DIR/specs/set.yaml","content":"`+encoded("set:bots=/one")+`"},
"workspaces":[{"source":"$DIR/specs/a.yaml","spec":{"name":"a","image":"docker.io/library/app:7"}},{"source":"$DIR/specs/b.yaml","spec":{"name":"b","image":"docker.io/library/app:8"}}]}}`,
		"$DIR", path))
	want := `  set bots
  a app:7 in /one by $DIR/specs/a.yaml
  b app:8 by $DIR/specs/b.yaml
  error: $DIR/specs/a.yaml:4:1: not valid YAML: did not find expected node content
  invalid: $DIR/specs/a.yaml
`
	if diff := cmp.Diff(want, strings.ReplaceAll(loaded(load(t, open(t, "state", path+"/specs"))), path, "$DIR")); diff != "" {
		t.Error(diff)
	}
}

func lockOf(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("state/*.lock")
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	return paths[0]
}

// One program at a time has the store of some paths.
func TestStoreOfAnother(t *testing.T) {
	t.Chdir(t.TempDir())
	store := open(t, "state", "/specs", "/one.yaml")
	_, err := lastvalid.Open("state", []string{"/specs", "/one.yaml"})
	if err == nil || err.Error() != "another agent watches /specs, /one.yaml with this state dir (end it first)" {
		t.Errorf("got %v", err)
	}
	open(t, "state", "/specs")
	again(t, store, "/specs", "/one.yaml")
}

// While the policy cannot be read, nothing new is let in.
func TestPolicyThatCannotBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "specs/a.yaml", said("a"))
	store := open(t, "state", "specs")
	broken := func() (spec.Check, error) { return nil, errors.New("policy: it is broken") }
	r, err := store.Load(broken)
	if diff := cmp.Diff("  nothing is known\n  error: policy: it is broken\n", loaded(r)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	load(t, store)
	spectest.Write(t, "specs/a.yaml", said("a=2"))
	r, err = store.Load(broken)
	if diff := cmp.Diff("  set default\n  a app:1 by "+absolute(t, "specs/a.yaml")+"\n  error: policy: it is broken\n", loaded(r)); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// What cannot be kept is loaded all the same.
func TestStoreThatCannotBeWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "specs/a.yaml", said("a"))
	store := open(t, "state", "specs")
	if err := os.MkdirAll(strings.TrimSuffix(lockOf(t), ".lock")+"/full", 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := store.Load(func() (spec.Check, error) { return nil, nil })
	if err == nil || len(r.Set.Workspaces) != 1 || len(r.Errors) > 0 {
		t.Error(err, loaded(r))
	}
}

// A workspace that stands without a file has what it had, also after a restart.
func TestWorkspacesWithoutFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "specs/a.yaml", spectest.Workspace("a", `  autoStart: false
  env: [{name: A, value: ""}]
  command: []
  devices: [nvidia.com/gpu=0]
  mounts: [{source: /srv, target: /srv, readOnly: true}]
  resources: {limits: {cpu: 1500m, memory: 4Gi, pids: 1}}
  stop: {signal: SIGINT, gracePeriod: 0s}
  network: {mode: cni, ports: [{host: 80, container: 80, hostIP: 127.0.0.1}]}
  host: h
`))
	spectest.Write(t, "specs/b.yaml", said("b"))
	store := open(t, "state", "specs")
	want := load(t, store).Set
	if err := os.Remove("specs/a.yaml"); err != nil {
		t.Fatal(err)
	}
	spectest.Write(t, "specs/b.yaml", said("b", "half"))
	for range 2 {
		store = again(t, store, "specs")
		got := load(t, store).Set
		if diff := cmp.Diff(want.Workspaces, got.Workspaces, cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if at := got.Workspaces[0].At("network.mode"); at.Line != 0 || at.File != want.Workspaces[0].Source {
			t.Errorf("it has a line: %s", at)
		}
	}
}

// When the last valid version of the set cannot be read, as after an upgrade
// that reads specs otherwise, everything stays as it was. The policy holds.
func TestSetThatCannotBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "specs/set.yaml", said("set:bots=/one"))
	spectest.Write(t, "specs/a.yaml", said("a", "b=2"))
	store := open(t, "state", "specs")
	load(t, store)
	text, err := os.ReadFile(file(t, "state"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := json.Marshal([]byte(said("set:bots=/one")))
	if err != nil {
		t.Fatal(err)
	}
	spectest.Write(t, file(t, "state"), string(bytes.ReplaceAll(text, old, []byte(`"AAAA"`))))
	store = again(t, store, "specs")
	spectest.Write(t, "specs/set.yaml", said("half"))
	spectest.Write(t, "specs/a.yaml", said("a=3", "c:99999999"))
	spectest.Write(t, "policy.yaml", envelope+"images: [\"docker.io/library/app:1\"]\n")
	allowed, err := policy.Load("policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := `  set bots
  a app:1 in /one by $DIR/specs/a.yaml
  error: these specs cannot be put together: everything stays as it was (correct the other errors)
  error: specs/a.yaml: what was valid before is left out: image docker.io/library/app:2 is not allowed here (the policy of this host, policy.yaml, allows docker.io/library/app:1)
  error: specs/a.yaml:6:10: image docker.io/library/app:3 is not allowed here (the policy of this host, policy.yaml, allows docker.io/library/app:1)
  error: specs/a.yaml:13:28: spec.network.ports[0].host must be at most 65535
  error: specs/set.yaml:4:1: not valid YAML: did not find expected node content
  invalid: $DIR/specs/a.yaml
  invalid: $DIR/specs/set.yaml
`
	for range 2 {
		r, err := store.Load(func() (spec.Check, error) { return allowed.For("h"), nil })
		if diff := cmp.Diff(want, strings.ReplaceAll(loaded(r), filepath.Dir(absolute(t, "specs")), "$DIR")); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
	spectest.Write(t, "specs/set.yaml", said("set:cats"))
	spectest.Write(t, "specs/a.yaml", said("a"))
	if diff := cmp.Diff("  set cats\n  a app:1 by "+absolute(t, "specs/a.yaml")+"\n", loaded(load(t, store))); diff != "" {
		t.Error(diff)
	}
}

// Names that move along a long chain of files, whose last has an error: all of
// them stay where they were.
func TestLongChain(t *testing.T) {
	t.Chdir(t.TempDir())
	const files = 30
	save := func(shift int) {
		for i := range files {
			spectest.Write(t, fmt.Sprintf("specs/%02d.yaml", i), said(fmt.Sprintf("w%02d=%d", i+shift, shift)))
		}
	}
	save(0)
	store := open(t, "state", "specs")
	want := load(t, store)
	save(1)
	spectest.Write(t, fmt.Sprintf("specs/%02d.yaml", files-1), said(fmt.Sprintf("w%02d", files), "half"))
	got := load(t, store)
	if diff := cmp.Diff(want.Set.Workspaces, got.Set.Workspaces, cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
		t.Error(diff)
	}
	save(1)
	if got = load(t, store); len(got.Errors) > 0 || got.Set.Workspaces[0].Name != "w01" || len(got.Set.Workspaces) != files {
		t.Error(loaded(got))
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Files that come and go while they are read never end the program, and are
// never taken as deleted.
func TestFolderThatMoves(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "one/below/a.yaml", spectest.Workspace("a", ""))
	spectest.Write(t, "one/set.yaml", said("set:bots"))
	spectest.Link(t, "one", "specs")
	done := make(chan error)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			for _, move := range [][2]string{{"one", "two"}, {"two", "one"}} {
				if err := os.Rename(move[0], move[1]); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	var memory lastvalid.Memory
	known := false
	for range 300 {
		r := memory.Load(nil, "specs")
		if known && (!r.Known || len(r.Set.Workspaces) != 1) {
			t.Errorf("%v %v", r.Known, r.Set.Workspaces)
		}
		known = known || r.Known && len(r.Set.Workspaces) == 1
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
