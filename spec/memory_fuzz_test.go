package spec_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"carrel/spec"
)

// history is a folder of a few files that are edited, and what must hold after
// each load of it.
type history struct {
	t      *testing.T
	memory spec.Memory
	before spec.Set
	known  bool

	files []string
	words map[string][]string          // what the good files say now
	faint map[string]string            // the others that are there: why
	good  map[string]map[string]string // by file, the images of its last good version
}

// edit changes a file as three bytes say.
func (h *history) edit(which, how, what byte) {
	path := h.files[int(which)%len(h.files)]
	if err := os.RemoveAll(path); err != nil {
		h.t.Fatal(err)
	}
	delete(h.words, path)
	delete(h.faint, path)
	names := []string{"a", "b", "c", "d", "e"}
	name := func(i byte) string { return names[int(i)%len(names)] }
	words := []string{fmt.Sprintf("%s=%d", name(what), how)}
	if what&8 != 0 {
		words = append(words, fmt.Sprintf("%s=%d:%d", name(what+1), how, 80+what>>6))
	}
	if what&16 != 0 {
		words = append(words, fmt.Sprintf("set:s%d=/%d", what>>7, how%3))
	}
	switch how % 10 {
	case 0, 1, 2, 3, 4:
		h.words[path] = words
	case 5:
		words, h.faint[path] = append(words, "half"), "half"
	case 6:
		words, h.faint[path] = append(words, "unknown:z"), "unknown"
	case 7:
		words, h.faint[path] = []string{"nothing"}, "nothing"
	case 8:
		h.faint[path] = "unread"
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			h.t.Fatal(err)
		}
		if what&1 != 0 {
			link(h.t, "nowhere", path)
		} else if err := os.Mkdir(path, 0o700); err != nil {
			h.t.Fatal(err)
		}
		return
	case 9: // gone
		delete(h.good, path)
		return
	}
	write(h.t, path, said(words...))
}

// load loads the folder, also with the memory of another run, and checks what
// must hold.
func (h *history) load() {
	h.t.Helper()
	text, err := json.Marshal(&h.memory)
	var restarted spec.Memory
	if err == nil {
		err = json.Unmarshal(text, &restarted)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	set, faults, ok := h.memory.Load(spec.Policy{}, "h", "specs")
	again, _, _ := restarted.Load(spec.Policy{}, "h", "specs")
	if diff := cmp.Diff(set, again, cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
		h.t.Fatalf("not the same after a restart:\n%s", diff)
	}
	for _, fault := range faults {
		if strings.ContainsAny(fault.Error(), "\n\r\x00") {
			h.t.Errorf("not a line: %q", fault.Error())
		}
	}
	if !ok {
		if h.known || len(faults) == 0 || set.Workspaces != nil {
			h.t.Fatal("nothing is known any more")
		}
		return
	}
	h.known = true
	h.consistent(set)
	h.strict(set, faults)
	h.stands(set)
	h.noneLost(set)
	h.before = set
}

// consistent: workspaces never contradict each other.
func (h *history) consistent(set spec.Set) {
	ports, last := map[int]string{}, ""
	for _, w := range set.Workspaces {
		if w.Name <= last {
			h.t.Fatalf("workspace %s twice, or not in order", w.Name)
		}
		last = w.Name
		for _, p := range w.Network.Ports {
			if ports[p.Host] != "" {
				h.t.Fatalf("port %d twice", p.Host)
			}
			ports[p.Host] = w.Name
		}
	}
}

// strict: without a fault it is what Load gives, and with one there is a fault.
func (h *history) strict(set spec.Set, faults spec.Errors) {
	want, err := spec.Load("specs")
	if err != nil {
		if len(faults) == 0 {
			h.t.Fatalf("this was not reported: %s", err)
		}
		return
	}
	if len(faults) == 0 || len(h.faint) == 0 {
		if diff := cmp.Diff(want, set, cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
			h.t.Fatalf("not what Load gives:\n%s%v", diff, faults)
		}
	}
}

// stands: what a file with a fault said last, when it had none, is there.
func (h *history) stands(set spec.Set) {
	images := map[string]map[string]string{}
	for _, w := range set.Workspaces {
		if images[w.Source] == nil {
			images[w.Source] = map[string]string{}
		}
		images[w.Source][w.Name] = w.Image
	}
	for _, path := range h.files {
		source, err := filepath.Abs(path)
		if err != nil {
			h.t.Fatal(err)
		}
		words, isGood := h.words[path]
		switch {
		case isGood && !set.Doubts(source):
			h.good[path] = map[string]string{}
			for _, word := range words {
				name, rest, _ := strings.Cut(word, "=")
				tag, _, _ := strings.Cut(rest, ":")
				if !strings.Contains(name, ":") {
					h.good[path][name] = "docker.io/library/app:" + tag
				}
			}
		case h.faint[path] == "nothing" && h.good[path] == nil:
		case !isGood && h.faint[path] != "" && h.faint[path] != "unread" && !set.Doubts(source):
			h.t.Fatalf("%s has a fault and is not in doubt", path)
		}
		for name, image := range h.good[path] {
			if images[source][name] != image {
				h.t.Fatalf("%s of %s is %q, and was %q", name, path, images[source][name], image)
			}
		}
	}
}

// noneLost: what is not there any more is in no file that has a fault.
func (h *history) noneLost(set spec.Set) {
	for _, w := range h.before.Workspaces {
		if slices.ContainsFunc(set.Workspaces, func(now spec.Workspace) bool { return now.Name == w.Name }) {
			continue
		}
		for _, source := range append(set.Faulty, w.Source) {
			text, err := os.ReadFile(source)
			if set.Doubts(w.Source) || source != w.Source && (err != nil || strings.Contains(string(text), "name: "+w.Name+"}")) {
				h.t.Fatalf("workspace %s of %s is gone, and %s is in doubt", w.Name, w.Source, source)
			}
		}
	}
}

func runHistory(t *testing.T, edits []byte) {
	t.Chdir(t.TempDir())
	h := history{t: t, files: []string{"specs/1.yaml", "specs/2.yaml", "specs/below/3.yaml", "specs/4.yaml"},
		words: map[string][]string{}, faint: map[string]string{}, good: map[string]map[string]string{}}
	for ; len(edits) >= 3; edits = edits[3:] {
		h.edit(edits[0], edits[1], edits[2])
		if edits[0]&128 == 0 { // several edits are seen at once
			h.load()
		}
	}
	h.load()
}

// Whatever happens to a few files, no workspace is lost or changed by a fault.
func TestMemoryHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		edits := make([]byte, 90)
		for j := range edits {
			edits[j] = byte(random.UintN(256))
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) { runHistory(t, edits) })
	}
}

func FuzzMemory(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 8, 0, 5, 9, 2, 9, 0})
	f.Fuzz(func(t *testing.T, edits []byte) { runHistory(t, edits[:min(len(edits), 150)]) })
}
