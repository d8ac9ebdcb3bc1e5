package spec_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		case kind == "noimage":
			text.WriteString("apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: " + name + "}\nspec: {}\n")
		case kind == "unknown":
			text.WriteString(workspace(name, "  unknown: 1\n"))
		case word == "nothing":
			text.WriteString("# nothing\n")
		case word == "half":
			text.WriteString("apiVersion: carrel/v1\nkind: {")
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
