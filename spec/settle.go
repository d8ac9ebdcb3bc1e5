package spec

import (
	"regexp"
	"slices"
	"unicode/utf8"
)

// settling finds out which content of each file stands: that of now, the last
// one without a fault, or none. A content that gives way never comes back, so
// it ends.
type settling struct {
	memory *Memory // as the last load left it
	found  finder
	files  []*candidate
	faults Errors
	ofLast Errors // of workspaces of the last result
	check  func(checker)

	doubts map[string]bool // what will be in Set.Faulty
	words  map[string]bool // in the files that have a fault
	blind  bool            // there may be files that were not read
	unsure bool            // one of those may be the set
	empty  []string

	loader loader     // with the set's defaults
	holder *candidate // has the set, nil when it is not among the files
	kept   *kept      // has it when no file does
	placed *together
	last   map[string]Workspace // the last result, by name
	left   map[string]bool      // workspaces of it that the policy does not allow
}

// settle is false when nothing without a contradiction is left, or the set is
// not known.
func (s *settling) settle() bool {
	for {
		if !s.chooseSet() {
			return false
		}
		said, ok := s.readSet()
		if !ok {
			return false
		}
		if !said || !s.overDefaults() {
			continue
		}
		s.placed = newTogether(s)
		switch s.placed.run() {
		case settled:
			return true
		case stuck:
			return false
		}
	}
}

// giveWay lets a file count as it was, and reports why.
func (s *settling) giveWay(c *candidate, why Errors) {
	if c.stands == c.now {
		s.faulty(c, why)
	}
	c.stepDown()
}

// chooseSet finds the file that has the set: of several the one that had it
// before. It is false when there may be one that was never known.
func (s *settling) chooseSet() bool {
	for {
		s.holder, s.kept = nil, nil
		var others []*candidate
		for _, c := range s.files {
			switch {
			case c.stands == nil || len(c.stands.sets) == 0:
			case s.holder == nil:
				s.holder = c
			case s.setRank(c) > s.setRank(s.holder):
				others = append(others, s.holder)
				s.holder = c
			default:
				others = append(others, c)
			}
		}
		if len(others) == 0 {
			return s.holder != nil || s.lastSet()
		}
		for _, c := range others {
			var why Errors
			why.secondSet(setAt(c.stands.sets[0]), setAt(s.holder.stands.sets[0]))
			s.giveWay(c, why)
		}
	}
}

func (s *settling) setRank(c *candidate) (rank int) {
	if last := s.memory.last; last != nil && last.set != nil && last.set.Source == c.source {
		rank += 2
	}
	if c.remembered() {
		rank++
	}
	return rank
}

// lastSet is for when no file has the set. While one may, it is what it was.
func (s *settling) lastSet() (known bool) {
	last := s.memory.last
	switch {
	case !s.unsure && !slices.ContainsFunc(s.files, func(c *candidate) bool { return c.faulty && c.now != nil && (c.now.unsure || len(c.now.sets) > 0) }):
		return true
	case last == nil:
		return !s.unsure && !slices.ContainsFunc(s.files, func(c *candidate) bool { return c.faulty && c.now != nil && c.now.mayBeSet() })
	case last.set == nil:
		return s.samePaths()
	}
	s.kept = last.set
	return s.covered(last.set.Source)
}

// ofSet is what the text of a file that has a WorkspaceSet has, however it is
// misspelt or broken.
var ofSet = regexp.MustCompile(`(?i)kind["']?\s*:\s*["']?\w*set`)

// mayBeSet reports whether a file has a WorkspaceSet, or may have one among what
// cannot be read of it.
func (r *reading) mayBeSet() bool {
	return len(r.sets) > 0 || r.unsure && (!utf8.Valid(r.content) || ofSet.Match(r.content))
}

// readSet reads the set's defaults. When they have a fault, the file that has
// them gives way and nothing is said; without one, it is not ok.
func (s *settling) readSet() (said, ok bool) {
	var why Errors
	s.loader = loader{set: Set{Name: DefaultSet}, faults: &why, check: s.check}
	switch {
	case s.holder != nil:
		s.loader.nameSet(s.holder.stands.sets[0])
	case s.kept != nil:
		was := (&file{name: s.nameOf(s.kept.Source), source: s.kept.Source, content: s.kept.Content}).reading()
		if len(was.sets) != 1 {
			return false, false
		}
		s.loader.nameSet(was.sets[0])
	}
	s.loader.checkDefaults()
	if len(why) == 0 {
		return true, true
	}
	if s.holder == nil {
		return false, false
	}
	s.giveWay(s.holder, why)
	return false, true
}

// overDefaults makes the workspaces of each file. Those with a fault give way,
// or the set's new defaults do, when they have the fault. It is false when that
// may have changed the set.
func (s *settling) overDefaults() bool {
	wrong := map[*candidate]Errors{}
	var ofSet Errors
	for _, c := range s.files {
		why := s.describe(c)
		if len(why) == 0 {
			continue
		}
		wrong[c] = why
		if c != s.holder {
			ofSet = append(ofSet, s.inNewDefaults(why)...)
		}
	}
	if len(ofSet) > 0 {
		s.giveWay(s.holder, ofSet)
		return false
	}
	same := true
	for _, c := range s.files {
		if len(wrong[c]) > 0 {
			same = s.replace(c, wrong[c]) && same
		}
	}
	return same
}

// inNewDefaults are the faults that are in defaults which can give way.
func (s *settling) inNewDefaults(faults Errors) (found Errors) {
	h := s.holder
	if h == nil || h.stands != h.now || h.same || h.before == nil && s.memory.last == nil {
		return nil
	}
	for _, fault := range faults {
		if s.loader.inDefaults[fault.Pos] {
			found = append(found, fault)
		}
	}
	return found
}

// replace lets a file give way and makes the workspaces of what stands then. It
// is false when that may have changed the set.
func (s *settling) replace(c *candidate, why Errors) (same bool) {
	s.giveWay(c, why)
	if c == s.holder || c.stands != nil && len(c.stands.sets) > 0 {
		return false
	}
	if len(s.describe(c)) > 0 {
		c.stepDown()
	}
	return true
}

// describe makes the workspaces of what stands of a file.
func (s *settling) describe(c *candidate) (faults Errors) {
	c.workspaces = nil
	if c.stands != nil {
		c.workspaces, faults = s.loader.alone(c.stands)
	}
	return faults
}

// alone are the workspaces of one file, and what is wrong with them whatever
// the other files say.
func (l loader) alone(said *reading) (all []Workspace, faults Errors) {
	l.faults, l.workspaces = &faults, said.workspaces
	l.set.Workspaces = nil
	l.together()
	return l.set.Workspaces, faults
}

// report finds the other faults of files that broke their schema, over the
// defaults that stand; of all files, when it did not come to that.
func (s *settling) report(settled bool) {
	l := s.loader
	l.check = s.check
	l.unsure = !settled || s.unsure || s.kept != nil || s.holder != nil && s.holder.faulty
	for _, c := range s.files {
		if c.now != nil && (!settled || len(c.now.faults) > 0) {
			_, faults := l.alone(c.now)
			s.faults = append(s.faults, faults...)
		}
	}
}

// allowed are those of the last result that the policy allows.
func (s *settling) allowed(workspaces []Workspace) (all []Workspace) {
	for _, w := range workspaces {
		var why Errors
		s.check(checker{Workspace: &w, faults: &why})
		if len(why) == 0 {
			all = append(all, w)
			continue
		}
		s.left[w.Name] = true
		s.doubts[w.Source] = true
		for _, fault := range why {
			fault.Pos = Pos{File: s.nameOf(w.Source)} // it may have other lines now
			s.ofLast = append(s.ofLast, fault)
		}
	}
	return all
}

// reportLast adds the faults of the last result that the files do not have now.
func (s *settling) reportLast() {
	type text struct{ file, msg string }
	seen := map[text]bool{}
	for _, fault := range s.faults {
		seen[text{fault.Pos.File, fault.Msg}] = true
	}
	for _, fault := range s.ofLast {
		if !seen[text{fault.Pos.File, fault.Msg}] {
			s.faults.Add(fault.Pos, fault.Hint, "what stood before is left out: %s", fault.Msg)
		}
	}
}

// workspaces are those that stand, by name.
func (s *settling) workspaces() (all []Workspace) {
	for _, held := range s.placed.names {
		all = append(all, *held.w)
	}
	sortByName(all)
	return all
}
