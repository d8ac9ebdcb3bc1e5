package spec

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// candidate is a file that may describe workspaces: as it is now, or as it was.
// Or it is one workspace of the last result, which no file describes now.
type candidate struct {
	source string
	name   string
	also   []string
	now    *reading // nil when it says nothing, or cannot be read
	before []byte   // its last content without a fault, nil when there is none
	same   bool     // as it is now is as it was

	stands     *reading    // what counts, nil when nothing does
	workspaces []Workspace // that it describes, over the set's defaults
	faulty     bool
	carried    bool // the one workspace
}

// remembered reports whether what stands was good before.
func (c *candidate) remembered() bool { return c.stands != nil && (c.same || c.stands != c.now) }

// stepDown lets the file count as it was, or not at all when that is what has
// the fault.
func (c *candidate) stepDown() {
	use := c.before != nil && !c.same && c.stands == c.now
	c.stands, c.workspaces = nil, nil
	if !use {
		return
	}
	was := (&file{name: c.name, source: c.source, content: c.before}).reading()
	if len(was.faults) == 0 && len(was.sets) < 2 { // a newer program may find faults in it
		c.stands = was
	}
}

// recall finds the files below paths, and says what is remembered of each.
func (m *Memory) recall(paths []string) *settling {
	s := &settling{memory: m, doubts: map[string]bool{}, words: map[string]bool{}, left: map[string]bool{}, last: map[string]Workspace{}}
	if m.last != nil {
		for _, w := range m.last.workspaces {
			s.last[w.Name] = w
		}
	}
	s.find(paths)
	lost := maps.Clone(m.files)
	for _, f := range s.found.files {
		c := s.candidate(f)
		for _, path := range append(f.also, f.source) {
			delete(lost, path)
		}
		s.files = append(s.files, c)
	}
	empty := s.found.empty()
	s.emptied(empty)
	s.dangling(lost)
	s.blind = s.blind || len(s.found.unread) > 0
	s.unsure = s.blind || len(empty) > 0 || len(s.found.places) == 0
	for _, path := range s.found.unread {
		s.doubts[path] = true
	}
	for _, p := range empty {
		s.doubts[p.absolute], s.doubts[inside(p.absolute)] = true, true
	}
	for _, source := range slices.Sorted(maps.Keys(lost)) {
		s.lost(source)
	}
	return s
}

func (s *settling) find(paths []string) {
	s.found = newFinder(&s.faults)
	for _, path := range paths {
		if path == stdin {
			s.faults.Add(Pos{File: stdin}, "name a file or a folder", "standard input cannot be watched")
			continue
		}
		s.found.find(path)
	}
	if len(paths) == 0 {
		s.faults.Add(Pos{}, "name a file or a folder", "no spec was named")
	}
}

// candidate is a file that was read.
func (s *settling) candidate(f *file) *candidate {
	c := &candidate{source: f.source, name: f.name, also: f.also, now: f.reading()}
	for _, path := range append([]string{f.source}, f.also...) {
		if before, ok := s.memory.files[path]; ok {
			c.before, c.same = before, bytes.Equal(before, f.content)
			break
		}
	}
	if len(c.now.sets) > 1 {
		c.now.faults.secondSet(setAt(c.now.sets[1]), setAt(c.now.sets[0]))
	}
	c.stands = c.now
	switch {
	case f.documents == 0 && len(c.now.faults) == 0 && c.before == nil:
		s.empty = append(s.empty, f.source)
		c.now, c.stands = nil, nil
	case f.documents == 0 && len(c.now.faults) == 0:
		s.doubt(c)
		c.stepDown()
		c.now = nil
	case len(c.now.faults) > 0:
		s.faulty(c, c.now.faults)
		c.stepDown()
	}
	return c
}

// emptied reports files that described something, and now are empty. A path
// that is such a file is reported already.
func (s *settling) emptied(places []*place) {
	reported := map[string]bool{}
	for _, p := range places {
		reported[p.absolute] = true
	}
	for _, c := range s.files {
		if c.now == nil && c.before != nil && !reported[c.source] {
			s.faults.Add(Pos{File: c.name}, "delete the file to take that away", "describes nothing now: what it described before stands")
		}
	}
}

// dangling reports links to nothing below which files were.
func (s *settling) dangling(lost map[string][]byte) {
	above := map[string]bool{}
	for source := range lost {
		for path := filepath.Dir(source); !above[path]; path = filepath.Dir(path) {
			above[path] = true
		}
	}
	for _, e := range s.found.dangling {
		if above[e.path] {
			s.found.fault(e.name, inside(e.path), fs.ErrNotExist)
		}
	}
}

// lost decides about a file that was not read: it is gone, unless that cannot
// be told.
func (s *settling) lost(source string) {
	c := &candidate{source: source, name: s.nameOf(source), before: s.memory.files[source]}
	info, err := os.Lstat(source)
	switch {
	case s.doubted(source):
	case err == nil && info.IsDir() && s.covered(source):
		s.faults.Add(Pos{File: c.name}, "delete the folder to take that away", "a folder is where a file was: what it described before stands")
	default:
		return
	}
	s.doubt(c)
	c.stepDown()
	s.blind = true
	s.files = append(s.files, c)
}

// doubt notes that a file may not say what it is meant to.
func (s *settling) doubt(c *candidate) {
	c.faulty = true
	s.doubts[c.source] = true
	for _, path := range c.also {
		s.doubts[path] = true
	}
	if c.now != nil {
		s.blind = s.blind || !utf8.Valid(c.now.content) || bytes.IndexByte(c.now.content, 0) >= 0 // in UTF-16 there are no words
		addWords(s.words, c.now.content)
	}
}

// faulty reports the faults of a file as it is now.
func (s *settling) faulty(c *candidate, faults Errors) {
	s.faults = append(s.faults, faults...)
	if !c.faulty {
		s.doubt(c)
	}
}

// doubted reports whether a file, or a folder above it, is in doubt.
func (s *settling) doubted(source string) bool {
	if s.doubts[source] {
		return true
	}
	for i, letter := range source {
		if letter == '/' && s.doubts[source[:i+1]] {
			return true
		}
	}
	return false
}

// covered reports whether a file is one of the paths that were given, or below.
func (s *settling) covered(source string) bool {
	return slices.ContainsFunc(s.found.places, func(p *place) bool { return below(source, p.absolute) })
}

// nameOf is what a person calls a file, by the paths that were given.
func (s *settling) nameOf(source string) string {
	for _, p := range s.found.places {
		if below(source, p.absolute) {
			return filepath.Join(p.path, strings.TrimPrefix(source, p.absolute))
		}
	}
	return source
}

// paths are those that were given.
func (s *settling) paths() []string {
	var paths []string
	for _, p := range s.found.places {
		paths = append(paths, p.absolute)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func (s *settling) samePaths() bool { return slices.Equal(s.paths(), s.memory.last.paths) }

// addWords adds what may be the names of workspaces in a text.
func addWords(words map[string]bool, text []byte) {
	for _, word := range bytes.FieldsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) {
		words[string(word)] = true
		words[string(bytes.Trim(word, "-"))] = true
	}
}
