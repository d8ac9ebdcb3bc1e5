package spec_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"carrel/spec"
)

// TestMemory runs the script of each archive in testdata/memory. Its commands
// are those of agent.run, and its result is what each load gives.
func TestMemory(t *testing.T) {
	golden(t, "testdata/memory", func(archive *txtar.Archive) string {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		var a agent
		for line := range strings.Lines(string(archive.Files[0].Data)) {
			if words := strings.Fields(line); len(words) > 0 {
				a.run(t, words[0], words[1:]...)
			}
		}
		return strings.ReplaceAll(a.out.String(), dir, "$DIR")
	})
}

// agent loads specs again and again.
type agent struct {
	memory spec.Memory
	policy spec.Policy
	out    strings.Builder
}

func (a *agent) run(t *testing.T, command string, args ...string) {
	t.Helper()
	var err error
	switch command {
	case "write": // a file, and the words for what it says
		write(t, args[0], said(args[1:]...))
	case "rm":
		err = os.RemoveAll(args[0])
	case "mv":
		err = os.Rename(args[0], args[1])
	case "mkdir":
		err = os.MkdirAll(args[0], 0o700)
	case "ln": // a target, and the name of the link
		err = os.MkdirAll(filepath.Dir(args[1]), 0o700)
		link(t, args[0], args[1])
	case "policy": // the images that are allowed
		write(t, "policy.yaml", envelope+"images: ["+strings.Join(args, ", ")+"]\n")
		a.policy, err = spec.LoadPolicy("policy.yaml")
	case "restart":
		var text []byte
		text, err = json.Marshal(&a.memory)
		a.memory = spec.Memory{}
		if err == nil {
			err = json.Unmarshal(text, &a.memory)
		}
	case "load":
		fmt.Fprintf(&a.out, "load %s\n%s", strings.Join(args, " "), loaded(a.memory.Load(a.policy, "h", args...)))
	default:
		t.Fatalf("no command %s", command)
	}
	if err != nil {
		t.Fatalf("%s %v: %v", command, args, err)
	}
}

// said is the text of a file: NAME[=TAG][:PORT] is a workspace, and set:NAME[=DIR]
// a WorkspaceSet with a default.
func said(words ...string) string {
	var text strings.Builder
	for _, word := range words {
		text.WriteString("---\n")
		kind, name, special := strings.Cut(word, ":")
		switch name, value, valued := strings.Cut(name, "="); {
		case kind == "set":
			text.WriteString("apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: " + name + "}\n")
			if valued {
				text.WriteString("spec: {defaults: {workingDir: " + value + "}}\n")
			}
		case kind == "setimage":
			text.WriteString("apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: " + name + "}\nspec: {defaults: {image: \"" + value + "\"}}\n")
		case kind == "setnet":
			text.WriteString("apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: " + name + "}\nspec: {defaults: {network: {mode: " + value + "}}}\n")
		case kind == "setport":
			text.WriteString("apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: " + name + "}\nspec: {defaults: {network: {ports: [{host: " + value + ", container: 80}]}}}\n")
		case kind == "noimage":
			text.WriteString("apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: " + name + "}\nspec: {}\n")
		case kind == "unknown":
			text.WriteString(workspace(name, "  unknown: 1\n"))
		case word == "nothing":
			text.WriteString("# nothing\n")
		case word == "half":
			text.WriteString("apiVersion: carrel/v1\nkind: {")
		case word == "binary":
			text.WriteString("\x00")
		case word == "large":
			text.WriteString(strings.Repeat("#\n", 1<<19))
		default:
			name, tag, tagged := strings.Cut(kind, "=")
			if !tagged {
				tag = "1"
			}
			text.WriteString("apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: " + name + "}\nspec:\n  image: app:" + tag + "\n")
			if special {
				text.WriteString("  network: {ports: [{host: " + strings.TrimPrefix(word, kind+":") + ", container: 80}]}\n")
			}
		}
	}
	return text.String()
}

// loaded is what a load gives as a text.
func loaded(set spec.Set, faults spec.Errors, ok bool) string {
	var b strings.Builder
	if ok {
		fmt.Fprintf(&b, "  set %s\n", set.Name)
	} else {
		b.WriteString("  nothing is known\n")
	}
	for _, w := range set.Workspaces {
		fmt.Fprintf(&b, "  %s %s", w.Name, strings.TrimPrefix(w.Image, "docker.io/library/"))
		if w.WorkingDir != "" {
			b.WriteString(" in " + w.WorkingDir)
		}
		for _, p := range w.Network.Ports {
			fmt.Fprintf(&b, " at %d", p.Host)
		}
		b.WriteString(" by " + w.Source + "\n")
	}
	for _, fault := range faults {
		b.WriteString("  fault: " + fault.Error() + "\n")
	}
	for _, source := range set.Faulty {
		b.WriteString("  faulty: " + source + "\n")
	}
	for _, source := range set.Empty {
		b.WriteString("  empty: " + source + "\n")
	}
	return b.String()
}

// A memory that cannot be read leaves the one that is there.
func TestMemoryThatIsBroken(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.yaml", said("a"))
	var memory spec.Memory
	if _, _, ok := memory.Load(spec.Policy{}, "", "a.yaml"); !ok {
		t.Fatal("nothing was loaded")
	}
	before, err := json.Marshal(&memory)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":              "unexpected end of JSON input",
		"{":             "unexpected end of JSON input",
		"[]":            "what is remembered of specs cannot be read: json: cannot unmarshal array into Go value of type struct { Version *int } (remove it to begin anew)",
		"{}":            "what is remembered of specs has no version (remove it to begin anew)",
		`{"version":2}`: "what is remembered of specs has version 2, and this carrel knows up to 1 (install a newer carrel, or remove it to begin anew)",
		`{"version":1,"files":[{"source":"/a","content":"!"}]}`:                       "what is remembered of specs cannot be read: illegal base64 data at input byte 0 (remove it to begin anew)",
		`{"version":1,"last":{"workspaces":[{"spec":{"stop":{"gracePeriod":"x"}}}]}}`: `what is remembered of specs cannot be read: time: invalid duration "x" (remove it to begin anew)`,
	} {
		err := json.Unmarshal([]byte(text), &memory)
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	after, err := json.Marshal(&memory)
	if diff := cmp.Diff(string(before), string(after)); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// What a workspace that stands without a file has is the same after a restart,
// but for its lines.
func TestMemoryKeepsWorkspaces(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "specs/a.yaml", workspace("a", `  autoStart: false
  env: [{name: A, value: ""}]
  command: []
  devices: [nvidia.com/gpu=0]
  mounts: [{source: /srv, target: /srv, readOnly: true}]
  resources: {limits: {cpu: 1500m, memory: 4Gi, pids: 1}}
  stop: {signal: SIGINT, gracePeriod: 0s}
  network: {mode: cni, ports: [{host: 80, container: 80, hostIP: 127.0.0.1}]}
  host: h
`)+"---\n"+workspace("b", ""))
	var memory, restarted spec.Memory
	want, _, _ := memory.Load(spec.Policy{}, "h", "specs")
	text, err := json.Marshal(&memory)
	if err == nil {
		err = json.Unmarshal(text, &restarted)
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, "specs/a.yaml", said("c", "half"))
	write(t, "specs/b.yaml", said("b"))
	link(t, "nowhere", "specs/c.yaml")
	if err := os.Remove("specs/a.yaml"); err != nil {
		t.Fatal(err)
	}
	got, _, _ := restarted.Load(spec.Policy{}, "h", "specs")
	if diff := cmp.Diff(want.Workspaces[0], got.Workspaces[0], cmpopts.IgnoreUnexported(spec.Workspace{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if at := got.Workspaces[0].At("network.mode"); at.Line != 0 || at.File != want.Workspaces[0].Source {
		t.Errorf("it has a line: %s", at)
	}
}

// When what is remembered of the set is of no use, the last result stands.
func TestMemoryAsAWhole(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "specs/set.yaml", said("set:bots=/one"))
	write(t, "specs/a.yaml", said("a", "b=2"))
	var memory spec.Memory
	memory.Load(spec.Policy{}, "h", "specs")
	text, err := json.Marshal(&memory)
	if err != nil {
		t.Fatal(err)
	}
	old := base64.StdEncoding.EncodeToString([]byte(said("set:bots=/one")))
	if err := json.Unmarshal(bytes.ReplaceAll(text, []byte(old), []byte("AAAA")), &memory); err != nil {
		t.Fatal(err)
	}
	write(t, "specs/set.yaml", said("half"))
	write(t, "specs/a.yaml", said("a=3", "c:99999999"))
	write(t, "policy.yaml", envelope+"images: [\"docker.io/library/app:1\"]\n")
	policy, err := spec.LoadPolicy("policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := `  set bots
  a app:1 in /one by $DIR/specs/a.yaml
  fault: these specs do not go together: everything stands as it was (correct the other faults)
  fault: specs/a.yaml: what stood before is left out: image docker.io/library/app:2 is not allowed here (the policy of this host, policy.yaml, allows docker.io/library/app:1)
  fault: specs/a.yaml:6:10: image docker.io/library/app:3 is not allowed here (the policy of this host, policy.yaml, allows docker.io/library/app:1)
  fault: specs/a.yaml:13:28: spec.network.ports[0].host must be at most 65535
  fault: specs/set.yaml:4:1: not valid YAML: did not find expected node content
  faulty: $DIR/specs/a.yaml
  faulty: $DIR/specs/set.yaml
`
	for range 2 {
		got := strings.ReplaceAll(loaded(memory.Load(policy, "h", "specs")), filepath.Dir(absolute(t, "specs")), "$DIR")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	write(t, "specs/set.yaml", said("set:cats"))
	write(t, "specs/a.yaml", said("a"))
	if diff := cmp.Diff("  set cats\n  a app:1 by "+absolute(t, "specs/a.yaml")+"\n", loaded(memory.Load(policy, "h", "specs"))); diff != "" {
		t.Error(diff)
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

// The work of a load grows with the files, whatever the number of faults.
func BenchmarkMemory(b *testing.B) {
	const files = 10_000
	for _, test := range []struct {
		name string
		then func(i int) string
	}{
		{"good", func(i int) string { return said(fmt.Sprintf("w%d=2", i)) }},
		{"half", func(i int) string { return said(fmt.Sprintf("w%d", i), "half") }},
		{"shifted", func(i int) string {
			return said(append([]string{fmt.Sprintf("w%d", i+1)}, []string{"half"}[:i/(files-1)]...)...)
		}},
		{"swapped", func(i int) string { return said(fmt.Sprintf("w%d", files-i-1)) }},
		{"one name", func(int) string { return said("w0") }},
		{"one port", func(i int) string { return said(fmt.Sprintf("w%d:80", i)) }},
		{"sets", func(i int) string { return said(fmt.Sprintf("w%d", i), "set:bots") }},
		{"moved away", func(i int) string { return said(fmt.Sprintf("x%d", i), fmt.Sprintf("unknown:w%d", (i+1)%files)) }},
	} {
		b.Run(test.name, func(b *testing.B) {
			dir := b.TempDir()
			save := func(text func(i int) string) {
				for i := range files {
					if err := os.WriteFile(fmt.Sprintf("%s/%05d.yaml", dir, i), []byte(text(i)), 0o600); err != nil {
						b.Fatal(err)
					}
				}
			}
			save(func(i int) string { return said(fmt.Sprintf("w%d", i)) })
			var memory spec.Memory
			memory.Load(spec.Policy{}, "", dir)
			save(test.then)
			for b.Loop() {
				if _, _, ok := memory.Load(spec.Policy{}, "", dir); !ok {
					b.Fatal("nothing is known")
				}
			}
		})
	}
}
