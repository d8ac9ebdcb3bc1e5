package spec

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Memory is what files said when they last had no fault. With it specs are
// loaded for a host that nobody watches over: what a faulty file described
// stands as it was, and everything else is as it is now. The zero value
// remembers nothing.
type Memory struct {
	files map[string]string    // the content that had no fault, by absolute path
	last  map[string]Workspace // of the last result, by name; nil before the first
	name  string               // of its set
	stand map[string]Workspace // those that no content in files describes any more
}

// Load reads the specs below paths as Policy.LoadSpecs does, but a fault is told
// and not the end: a file that has one counts as it was when it had none, or is
// left out when it always had. What a file or folder that cannot be read, or
// that is empty, described stands. The set is not known, and nothing may be done
// with it, when a file that names the set has never been read without a fault.
func (m *Memory) Load(p Policy, host string, paths ...string) (set Set, faults Errors, known bool) {
	a := attempt{memory: m, check: p.checks(host), faults: &faults}
	if m.last == nil && len(m.files) > 0 {
		m.recall(a.check)
	}
	a.find(paths)
	for a.load() {
	}
	a.found.empty()
	a.set.Faulty, a.set.Folders = a.faulty(), unique(a.found.folders)
	known = !a.unknown()
	if known {
		a.standIn()
		m.remember(a)
	} else {
		faults.Add(Pos{}, "mend the other faults first", "nothing is applied: what cannot be read may name the set and its defaults")
	}
	faults.once()
	return a.set, faults, known
}

// attempt is one loading: files with the content that they count with.
type attempt struct {
	memory *Memory
	check  func(checker)
	faults *Errors // of the files as they are now

	found  finder
	files  []*version
	byName map[string]*version
	lost   []string // paths that cannot be read, absolute
	set    Set
	named  bool // a document names the set
	stand  map[string]Workspace
}

// version is a file with the content that it counts with.
type version struct {
	*file
	now string // its content now; "" when it is lost

	current bool // it counts with its content now
	out     bool // it is left out
	faulty  bool // its content now has faults
	wrong   bool // the content that it counts with has
}

// find finds the files as they are now. Those of which only the memory knows,
// because the way to them is lost, count as they were.
func (a *attempt) find(paths []string) {
	a.found = finder{seen: map[string]*file{}, faults: a.faults}
	for _, path := range paths {
		if path == stdin {
			a.faults.Add(Pos{File: stdin}, "name files and folders", "standard input cannot be read again")
			continue
		}
		a.found.find(path)
	}
	a.byName = map[string]*version{}
	here := map[string]bool{}
	for _, f := range a.found.files {
		here[f.source] = true
		a.add(&version{file: f, now: string(f.content), current: true})
	}
	a.lost = a.found.lost()
	for source, content := range a.memory.files {
		if !here[source] && slices.ContainsFunc(a.lost, func(lost string) bool { return within(source, lost) }) {
			a.add(&version{file: &file{name: source, source: source, content: []byte(content)}, faulty: true})
		}
	}
	slices.SortFunc(a.files, func(x, y *version) int { return strings.Compare(x.source, y.source) })
}

// lost are the paths that cannot be read, or that have no files, absolute.
func (f *finder) lost() []string {
	var names []string
	for _, fault := range *f.faults {
		names = append(names, fault.Pos.File)
	}
	for _, p := range f.places {
		if len(p.files) == 0 {
			names = append(names, p.path)
		}
	}
	for i, name := range names {
		if absolute, err := filepath.Abs(name); err == nil {
			names[i] = absolute
		}
	}
	return unique(names)
}

func (a *attempt) add(v *version) {
	a.files = append(a.files, v)
	a.byName[v.name] = v
}

// load loads the files with the content that they count with, and reports
// whether that has to be done again: a file with a fault counts as it was, or is
// left out.
func (a *attempt) load() (again bool) {
	var faults Errors
	l := loader{faults: &faults, check: a.check, set: Set{Name: DefaultSet, Sources: a.found.sources}}
	for _, v := range a.files {
		if !v.out {
			l.files([]*file{v.file})
		}
	}
	l.finish()
	a.set, a.named = l.set, l.setAt != Pos{}
	a.emptied(&faults)
	for _, fault := range faults {
		v := a.byName[fault.Pos.File]
		if v == nil || v.out {
			continue // it is of no file, or of one that has fallen back for another fault
		}
		if v.current {
			*a.faults = append(*a.faults, fault)
		}
		v.wrong = true
	}
	for _, v := range a.files {
		if v.wrong {
			v.fallBack(a.memory.files[v.source])
			again = true
		}
	}
	return again
}

// emptied adds a fault for each file that described something and does not now.
func (a *attempt) emptied(faults *Errors) {
	for _, v := range a.files {
		if v.current && v.documents == 0 && !v.file.faulty && a.memory.files[v.source] != "" {
			faults.Add(Pos{File: v.name}, "describe it here, or delete the file", "it describes nothing now: what it described stands")
		}
	}
}

// fallBack has a file that has a fault count as it was, when that is another
// content.
func (v *version) fallBack(was string) {
	v.wrong = false
	if !v.current || was == "" || was == v.now {
		v.out, v.faulty, v.current = true, true, false
		return
	}
	v.current, v.faulty, v.content = false, true, []byte(was)
}

// faulty are the paths of which it is not known what they say now.
func (a *attempt) faulty() []string {
	all := slices.Clone(a.lost)
	for _, v := range a.files {
		if v.faulty {
			all = append(all, v.source)
		}
	}
	return unique(all)
}

// unknown reports whether the set's name and defaults may be others than those
// of the result: in a file that is left out, or that nobody has read yet.
func (a *attempt) unknown() bool {
	if a.named || a.memory.last != nil && a.memory.name == a.set.Name {
		return false
	}
	return len(a.lost) > 0 || a.memory.last != nil && len(a.faulty()) > 0 ||
		slices.ContainsFunc(a.files, func(v *version) bool { return v.out && strings.Contains(v.now, "WorkspaceSet") })
}

// standIn adds workspaces that are not described any more and that may have
// moved to a file that is faulty now: its text has their names, or cannot be
// read. Those of a file that is left out are left alone.
func (a *attempt) standIn() {
	described := map[string]bool{}
	for _, w := range a.set.Workspaces {
		described[w.Name] = true
	}
	a.stand = map[string]Workspace{}
	for name, w := range a.memory.last {
		if !described[name] && a.mayHave(w) {
			a.set.Workspaces = append(a.set.Workspaces, w)
			a.stand[name] = w
		}
	}
	slices.SortFunc(a.set.Workspaces, func(x, y Workspace) int { return strings.Compare(x.Name, y.Name) })
}

func (a *attempt) mayHave(w Workspace) bool {
	for _, v := range a.files {
		if v.out && v.source == w.Source {
			return false
		}
	}
	return len(a.lost) > 0 || slices.ContainsFunc(a.files, func(v *version) bool {
		return v.faulty && strings.Contains(v.now, w.Name)
	})
}

// remember takes the result, and the content that had no fault. Files that are
// gone are forgotten.
func (m *Memory) remember(a attempt) {
	before := m.files
	m.files = map[string]string{}
	for _, v := range a.files {
		if was, had := before[v.source]; had {
			m.files[v.source] = was
		}
		if v.current && v.documents > 0 {
			m.files[v.source] = v.now
		}
	}
	m.name, m.last, m.stand = a.set.Name, map[string]Workspace{}, a.stand
	for _, w := range a.set.Workspaces {
		m.last[w.Name] = w
	}
}

// recall makes the last result from what is remembered.
func (m *Memory) recall(check func(checker)) {
	var none Errors
	l := loader{faults: &none, check: check, set: Set{Name: DefaultSet}}
	for source, content := range m.files {
		l.file(&file{name: source, source: source, content: []byte(content)})
	}
	l.finish()
	m.name, m.last = l.set.Name, map[string]Workspace{}
	for _, w := range l.set.Workspaces {
		m.last[w.Name] = w
	}
	for name, w := range m.stand {
		m.last[name] = w
	}
}

func unique(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// memoryVersion is the version of the form in which a memory is written.
const memoryVersion = 1

// memoryForm is that form.
type memoryForm struct {
	Version int               `json:"version"`
	Files   map[string]string `json:"files"`
	Stand   []standing        `json:"standing,omitempty"`
}

type standing struct {
	Source string    `json:"source"`
	Spec   Workspace `json:"spec"`
}

// MarshalJSON writes what is remembered. It has what the files have: secrets too.
func (m *Memory) MarshalJSON() ([]byte, error) {
	form := memoryForm{Version: memoryVersion, Files: m.files}
	for _, w := range m.stand {
		form.Stand = append(form.Stand, standing{w.Source, w})
	}
	slices.SortFunc(form.Stand, func(x, y standing) int { return strings.Compare(x.Spec.Name, y.Spec.Name) })
	return json.Marshal(form)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Memory) UnmarshalJSON(text []byte) error {
	var form memoryForm
	if err := json.Unmarshal(text, &form); err != nil {
		return err
	}
	if form.Version != memoryVersion {
		return fmt.Errorf("it has version %d, this carrel knows %d", form.Version, memoryVersion)
	}
	*m = Memory{files: form.Files, stand: map[string]Workspace{}}
	for _, s := range form.Stand {
		s.Spec.Source = s.Source
		m.stand[s.Spec.Name] = s.Spec
	}
	return nil
}
