package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Memory is what files last said without a fault, so that a program that loads
// them again and again goes on while some have one. The zero value remembers
// nothing. It may hold secrets, as specs do.
//
// Its JSON form is for the next run of the program. Workspaces that no file
// describes any more, and that stand all the same, lose their lines by it.
type Memory struct {
	files map[string][]byte // by source, what each last said
	last  *result           // nil before the first
}

// result is what a load gave, as far as files alone do not say it.
type result struct {
	paths      []string // that were loaded, absolute and sorted
	name       string   // of the set
	set        *kept    // what named it, nil when nothing did
	workspaces []Workspace
}

// kept is a file as it was.
type kept struct {
	Source  string `json:"source"`
	Content []byte `json:"content"`
}

// Load reads the specs below paths, and finds what a policy does not allow, as
// Policy.LoadSpecs does, but goes on when there are faults:
//
//   - a file with a fault, alone or together with others, stands as it was when
//     it last had none; one that never was without is left out
//   - what is empty or cannot be read stands as it was; a file that is gone from
//     a folder that can be read is gone
//   - a workspace that is gone stands as it was while a file with a fault has its
//     name, or one cannot be read: it may be on its way there
//   - what the policy does not allow is left out, whatever stood before
//
// The set has in Faulty what has a fault. Its workspaces never contradict each
// other. Not ok means that the set's name or its defaults were never known: the
// set then has nothing to plan from, only the folders to watch.
func (m *Memory) Load(p Policy, host string, paths ...string) (set Set, faults Errors, ok bool) {
	s := m.recall(paths)
	s.check = p.judgeOn(host)
	set = Set{Sources: s.found.sources, Folders: slices.Sorted(maps.Keys(s.found.folders))}
	ok = s.settle()
	s.report(ok)
	switch {
	case ok:
		set.Name, set.Workspaces, set.Empty = s.loader.set.Name, s.workspaces(), s.empty
		m.remember(s)
	case m.last != nil && s.samePaths():
		ok = true
		s.faults.Add(Pos{}, "correct the other faults", "these specs do not go together: everything stands as it was")
		set.Name, set.Workspaces = m.last.name, s.allowed(m.last.workspaces)
	case len(s.found.places) > 0:
		s.faults.Add(Pos{}, "correct the other faults", "it is not known which WorkspaceSet these specs have: nothing is applied")
	}
	set.Faulty = slices.Sorted(maps.Keys(s.doubts))
	s.reportLast()
	s.faults.once()
	return set, s.faults.sorted(), ok
}

// remember keeps what stands now.
func (m *Memory) remember(s *settling) {
	m.files = map[string][]byte{}
	for _, c := range s.files {
		switch {
		case c.stands != nil && c.stands == c.now:
			m.files[c.source] = c.now.content
		case c.before != nil:
			m.files[c.source] = c.before
		}
	}
	m.last = &result{paths: s.paths(), name: s.loader.set.Name, set: s.kept, workspaces: s.workspaces()}
	if s.holder != nil {
		m.last.set = &kept{s.holder.source, s.holder.stands.content}
	}
}

// memoryVersion is that of the form below. A new one is for what an older
// program would misread.
const memoryVersion = 1

// stored is a Memory as JSON.
type stored struct {
	Version int           `json:"version"`
	Files   []kept        `json:"files"`
	Last    *storedResult `json:"last,omitempty"`
}

type storedResult struct {
	Paths      []string          `json:"paths"`
	Name       string            `json:"name"`
	Set        *kept             `json:"set,omitempty"`
	Workspaces []storedWorkspace `json:"workspaces"`
}

type storedWorkspace struct {
	Source string    `json:"source"`
	Spec   Workspace `json:"spec"`
}

// MarshalJSON writes all of it.
func (m *Memory) MarshalJSON() ([]byte, error) {
	form := stored{Version: memoryVersion}
	for _, source := range slices.Sorted(maps.Keys(m.files)) {
		form.Files = append(form.Files, kept{source, m.files[source]})
	}
	if m.last != nil {
		form.Last = &storedResult{Paths: m.last.paths, Name: m.last.name, Set: m.last.set}
		for _, w := range m.last.workspaces {
			form.Last.Workspaces = append(form.Last.Workspaces, storedWorkspace{w.Source, w})
		}
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads what MarshalJSON wrote. After an error the memory is as
// it was before.
func (m *Memory) UnmarshalJSON(text []byte) error {
	var form stored
	if err := json.Unmarshal(text, &struct{ Version *int }{&form.Version}); err != nil {
		return fmt.Errorf("what is remembered of specs cannot be read: %w (remove it to begin anew)", err)
	}
	switch {
	case form.Version > memoryVersion:
		return fmt.Errorf("what is remembered of specs has version %d, and this carrel knows up to %d (install a newer carrel, or remove it to begin anew)", form.Version, memoryVersion)
	case form.Version < 1:
		return errors.New("what is remembered of specs has no version (remove it to begin anew)")
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return fmt.Errorf("what is remembered of specs cannot be read: %w (remove it to begin anew)", err)
	}
	read := Memory{files: map[string][]byte{}}
	for _, f := range form.Files {
		read.files[f.Source] = f.Content
	}
	if form.Last != nil {
		read.last = &result{paths: form.Last.Paths, name: form.Last.Name, set: form.Last.Set}
		for _, w := range form.Last.Workspaces {
			w.Spec.Source = w.Source
			read.last.workspaces = append(read.last.workspaces, w.Spec)
		}
	}
	*m = read
	return nil
}
