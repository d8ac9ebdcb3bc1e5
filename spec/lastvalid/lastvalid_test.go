package lastvalid_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"carrel/spec"
	"carrel/spec/lastvalid"
	"carrel/spec/policy"
	"carrel/spec/spectest"
)

// TestRule runs the script of each archive in testdata. Its commands are those of
// agent.run, and its result is what each load gives.
func TestRule(t *testing.T) {
	spectest.Golden(t, "testdata", func(archive *txtar.Archive) string {
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
	store  *lastvalid.Store
	policy policy.Policy
	out    strings.Builder
}

func (a *agent) run(t *testing.T, command string, args ...string) {
	t.Helper()
	var err error
	switch command {
	case "write": // a file, and the words for what it says
		spectest.Write(t, args[0], said(args[1:]...))
	case "text": // a file, and its lines
		spectest.Write(t, args[0], strings.Join(args[1:], "\n")+"\n")
	case "rm":
		err = os.RemoveAll(args[0])
	case "mv":
		err = os.Rename(args[0], args[1])
	case "mkdir":
		err = os.MkdirAll(args[0], 0o700)
	case "ln": // a target, and the name of the link
		err = os.MkdirAll(filepath.Dir(args[1]), 0o700)
		spectest.Link(t, args[0], args[1])
	case "policy": // the images that are allowed; none is a policy that cannot be read
		spectest.Write(t, "policy.yaml", envelope+"images: ["+strings.Join(args, ", ")+"]\n")
		a.policy, err = policy.Load("policy.yaml")
	case "restart":
		err = a.store.Close()
		a.store = nil
	case "load":
		if a.store == nil {
			a.store = open(t, "state", args...)
		}
		result, failed := a.store.Load(func() (spec.Check, error) { return a.policy.For("h"), nil })
		fmt.Fprintf(&a.out, "load %s\n%s", strings.Join(args, " "), loaded(result))
		err = failed
	default:
		t.Fatalf("no command %s", command)
	}
	if err != nil {
		t.Fatalf("%s %v: %v", command, args, err)
	}
}

// open is the store of some paths, as a new run of the program has it.
func open(t *testing.T, dir string, paths ...string) *lastvalid.Store {
	t.Helper()
	store, err := lastvalid.Open(dir, paths)
	if err == nil {
		err = store.Recall()
	}
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// load is what a store gives without a policy.
func load(t *testing.T, store *lastvalid.Store) lastvalid.Result {
	t.Helper()
	r, err := store.Load(func() (spec.Check, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const envelope = "apiVersion: carrel/v1\nkind: HostPolicy\nspec:\n  "

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
			text.WriteString(spectest.Workspace(name, "  unknown: 1\n"))
		case strings.HasSuffix(kind, ",renamedFrom"):
			text.WriteString(strings.Replace(said(strings.TrimSuffix(kind, ",renamedFrom")), "}", ", renamedFrom: "+name+"}", 1))
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
func loaded(r lastvalid.Result) string {
	var b strings.Builder
	if r.Known {
		fmt.Fprintf(&b, "  set %s\n", r.Set.Name)
	} else {
		b.WriteString("  nothing is known\n")
	}
	for _, w := range r.Set.Workspaces {
		fmt.Fprintf(&b, "  %s %s", w.Name, strings.TrimPrefix(w.Image, "docker.io/library/"))
		if w.WorkingDir != "" {
			b.WriteString(" in " + w.WorkingDir)
		}
		for _, p := range w.Network.Ports {
			fmt.Fprintf(&b, " at %d", p.Host)
		}
		b.WriteString(" by " + w.Source + "\n")
	}
	for _, err := range r.Errors {
		b.WriteString("  error: " + err.Error() + "\n")
	}
	for _, source := range r.Set.Invalid {
		b.WriteString("  invalid: " + source + "\n")
	}
	for _, source := range r.Set.Empty {
		b.WriteString("  empty: " + source + "\n")
	}
	return b.String()
}

// The work of a load grows with the files, whatever the number of errors.
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
			var memory lastvalid.Memory
			memory.Load(nil, dir)
			save(test.then)
			for b.Loop() {
				if !memory.Load(nil, dir).Known {
					b.Fatal("nothing is known")
				}
			}
		})
	}
}
