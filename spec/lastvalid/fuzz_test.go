package lastvalid_test

import (
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
	"carrel/spec/lastvalid"
	"carrel/spec/spectest"
)

// history is a folder of a few files that are edited, and what must hold after
// each load of it.
type history struct {
	t      *testing.T
	memory lastvalid.Memory
	before lastvalid.Result

	files []string
	words map[string][]string          // what the valid files say now
	wrong map[string]string            // the other files that are there: why
	good  map[string]map[string]string // by file, the images of its last valid version
}

// edit changes a file as three bytes say.
func (h *history) edit(which, how, what byte) {
	path := h.files[int(which)%len(h.files)]
	if err := os.RemoveAll(path); err != nil {
		h.t.Fatal(err)
	}
	delete(h.words, path)
	delete(h.wrong, path)
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
		words, h.wrong[path] = append(words, "half"), "half"
	case 6:
		words, h.wrong[path] = append(words, "unknown:z"), "unknown"
	case 7:
		words, h.wrong[path] = []string{"nothing"}, "nothing"
	case 8:
		h.wrong[path] = "unread"
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			h.t.Fatal(err)
		}
		if what&1 != 0 {
			spectest.Link(h.t, "nowhere", path)
		} else if err := os.Mkdir(path, 0o700); err != nil {
			h.t.Fatal(err)
		}
		return
	case 9: // gone
		delete(h.good, path)
		return
	}
	spectest.Write(h.t, path, said(words...))
}

// load loads the folder, also as a program that was restarted does, and checks
// what must hold.
func (h *history) load() {
	h.t.Helper()
	r := h.memory.Load(nil, "specs")
	restarted := open(h.t, "restarted", "specs")
	again := load(h.t, restarted)
	if err := restarted.Close(); err != nil {
		h.t.Fatal(err)
	}
	if diff := cmp.Diff(r, again, cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
		h.t.Fatalf("not the same after a restart:\n%s", diff)
	}
	for _, err := range r.Errors {
		if strings.ContainsAny(err.Error(), "\n\r\x00") {
			h.t.Errorf("not a line: %q", err.Error())
		}
	}
	if len(r.Errors) > 0 != (len(r.Set.Invalid) > 0) {
		h.t.Fatalf("invalid are %v, and the errors %v", r.Set.Invalid, r.Errors)
	}
	if !r.Known {
		if h.before.Known || len(r.Errors) == 0 || r.Set.Workspaces != nil {
			h.t.Fatal("nothing is known any more")
		}
		return
	}
	h.consistent(r.Set)
	h.strict(r)
	h.stands(r)
	h.nothingDeleted(r)
	h.before = r
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

// strict: without an error the result is that of spec.Load, which finds an error
// only when there is one here.
func (h *history) strict(r lastvalid.Result) {
	want, err := spec.Load("specs")
	if err != nil {
		if len(r.Errors) == 0 {
			h.t.Fatalf("this was not reported: %s", err)
		}
		return
	}
	if len(r.Errors) == 0 || len(h.wrong) == 0 {
		if diff := cmp.Diff(want, r.Set, cmpopts.IgnoreUnexported(spec.Workspace{})); diff != "" {
			h.t.Fatalf("not what Load gives:\n%s%v", diff, r.Errors)
		}
	}
}

// stands: a file counts as it is now, or as its last valid version when it has an
// error.
func (h *history) stands(r lastvalid.Result) {
	images := map[string]map[string]string{}
	for _, w := range r.Set.Workspaces {
		if images[w.Source] == nil {
			images[w.Source] = map[string]string{}
		}
		images[w.Source][w.Name] = w.Image
	}
	for _, path := range h.files {
		invalid := slices.ContainsFunc(r.Errors, func(err spec.Error) bool {
			return err.Pos.File == path && !strings.Contains(err.Msg, "the defaults of the set stay")
		})
		words, valid := h.words[path]
		switch {
		case valid && !invalid:
			h.good[path] = imagesOf(words)
		case h.wrong[path] == "nothing" && h.good[path] == nil:
		case !valid && h.wrong[path] != "" && h.wrong[path] != "unread" && !invalid:
			h.t.Fatalf("%s has an error that is not reported", path)
		}
		source, err := filepath.Abs(path)
		if err != nil {
			h.t.Fatal(err)
		}
		for name, image := range h.good[path] {
			if images[source][name] != image {
				h.t.Fatalf("%s of %s is %q, and was %q:\n%s\nbefore:\n%s", name, path, images[source][name], image, loaded(r), loaded(h.before))
			}
		}
	}
}

// imagesOf are the images of the workspaces in the words of a file.
func imagesOf(words []string) map[string]string {
	images := map[string]string{}
	for _, word := range words {
		name, rest, _ := strings.Cut(word, "=")
		tag, _, _ := strings.Cut(rest, ":")
		if !strings.Contains(name, ":") {
			images[name] = "docker.io/library/app:" + tag
		}
	}
	return images
}

// nothingDeleted: while there is an error no workspace goes, and the set's name
// stays.
func (h *history) nothingDeleted(r lastvalid.Result) {
	if len(r.Errors) == 0 || !h.before.Known {
		return
	}
	if r.Set.Name != h.before.Set.Name {
		h.t.Fatalf("the set is %s, and was %s", r.Set.Name, h.before.Set.Name)
	}
	for _, w := range h.before.Set.Workspaces {
		if !slices.ContainsFunc(r.Set.Workspaces, func(now spec.Workspace) bool { return now.Name == w.Name }) {
			h.t.Fatalf("workspace %s of %s is gone, and there are errors:\n%s", w.Name, w.Source, r.Errors)
		}
	}
}

func runHistory(t *testing.T, edits []byte) {
	t.Chdir(t.TempDir())
	h := history{t: t, files: []string{"specs/1.yaml", "specs/2.yaml", "specs/below/3.yaml", "specs/4.yaml"},
		words: map[string][]string{}, wrong: map[string]string{}, good: map[string]map[string]string{}}
	for ; len(edits) >= 3; edits = edits[3:] {
		h.edit(edits[0], edits[1], edits[2])
		if edits[0]&128 == 0 { // several edits are seen at once
			h.load()
		}
	}
	h.load()
}

// Whatever happens to a few files, the rule holds.
func TestHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 25 {
		edits := make([]byte, 90)
		for j := range edits {
			edits[j] = byte(random.UintN(256))
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) { runHistory(t, edits) })
	}
}

func FuzzHistories(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 8, 0, 5, 9, 2, 9, 0})
	f.Fuzz(func(t *testing.T, edits []byte) { runHistory(t, edits[:min(len(edits), 150)]) })
}
