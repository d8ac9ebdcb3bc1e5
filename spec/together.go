package spec

import "slices"

// together finds workspaces of different files that contradict each other: they
// have one name, or ports that meet. What stood before keeps its place.
type together struct {
	*settling
	names map[string]claim
	ports ports
	queue []*candidate
	end   outcome
	tried map[string]bool // workspaces that no file describes
}

// claim is a workspace, and what describes it.
type claim struct {
	by *candidate
	w  *Workspace
}

// outcome is how trying to bring all files together ended.
type outcome int

// The outcomes.
const (
	settled outcome = iota
	changed         // another file may have the set now
	stuck           // what stood before contradicts itself
)

func newTogether(s *settling) *together {
	return &together{settling: s, names: map[string]claim{}, ports: ports{}, tried: map[string]bool{}}
}

// run places every file, and every workspace that must stand though no file
// describes it. The work grows with what is placed, not with what contradicts.
func (t *together) run() outcome {
	for _, c := range t.files {
		if c.stands != nil {
			t.queue = append(t.queue, c)
		}
	}
	for t.end == settled {
		if len(t.queue) == 0 {
			t.queue = t.missing()
		}
		if len(t.queue) == 0 {
			break
		}
		c := t.queue[0]
		t.queue = t.queue[1:]
		t.place(c)
	}
	return t.end
}

// place adds the workspaces of a file, and takes away the files that
// contradict it and have less right to stand.
func (t *together) place(c *candidate) {
	var mine Errors
	theirs := map[*candidate]Errors{}
	var others []*candidate
	for i := range c.workspaces {
		w := &c.workspaces[i]
		for _, met := range t.meets(w) {
			if ofSet := t.inNewDefaults(slices.Concat(met.here, met.there)); len(ofSet) > 0 {
				t.giveWay(t.holder, ofSet)
				t.end = changed
				return
			}
			switch {
			case t.rank(c, w) <= t.rank(met.by, met.w):
				mine = append(mine, met.here...)
			case theirs[met.by] == nil:
				others = append(others, met.by)
				fallthrough
			default:
				theirs[met.by] = append(theirs[met.by], met.there...)
			}
		}
	}
	if len(mine) > 0 {
		t.yield(c, mine)
		return
	}
	for _, other := range others {
		t.remove(other)
		t.yield(other, theirs[other])
	}
	for i := range c.workspaces {
		t.add(claim{c, &c.workspaces[i]})
	}
}

// meeting is a workspace that was placed and contradicts one that was not, and
// how to say so at the place of either.
type meeting struct {
	claim
	here, there Errors
}

func (t *together) meets(w *Workspace) (all []meeting) {
	if other, twice := t.names[w.Name]; twice {
		met, at, there := meeting{claim: other}, w.At("metadata.name"), other.w.At("metadata.name")
		met.here.describedTwice(w.Name, at, there)
		met.there.describedTwice(w.Name, there, at)
		all = append(all, met)
	}
	for _, p := range portsOf(w) {
		for _, o := range t.ports[p.key()] {
			if p.meets(o) {
				met := meeting{claim: t.names[o.w.Name]}
				met.here.portTaken(p, o)
				met.there.portTaken(o, p)
				all = append(all, met)
			}
		}
	}
	return all
}

func (t *together) add(c claim) {
	t.names[c.w.Name] = c
	for _, p := range portsOf(c.w) {
		t.ports[p.key()] = append(t.ports[p.key()], p)
	}
}

func (t *together) remove(c *candidate) {
	for i := range c.workspaces {
		w := &c.workspaces[i]
		delete(t.names, w.Name)
		for _, p := range portsOf(w) {
			t.ports[p.key()] = slices.DeleteFunc(t.ports[p.key()], func(o port) bool { return o.w == w })
		}
	}
}

// yield lets a file that was contradicted count as it was.
func (t *together) yield(c *candidate, why Errors) {
	if c.carried {
		return // a file describes it, or it is found missing again
	}
	if !t.replace(c, why) {
		t.end = changed
	}
	if c.stands != nil {
		t.queue = append(t.queue, c)
	}
}

// rank says how much right what describes a workspace has to do so.
func (t *together) rank(c *candidate, w *Workspace) int {
	last, had := t.last[w.Name]
	had = had && (last.Source == c.source || slices.Contains(c.also, last.Source))
	switch {
	case c.carried:
		return 3
	case had && c.remembered():
		return 4
	case had:
		return 2
	case c.remembered():
		return 1
	}
	return 0
}

// missing are the workspaces of the last result that must stand though no file
// describes them: theirs has a fault, or they may be on their way to one.
func (t *together) missing() (all []*candidate) {
	if t.memory.last == nil {
		return nil
	}
	for _, w := range t.memory.last.workspaces {
		_, there := t.names[w.Name]
		waits := t.blind || t.words[w.Name] || t.doubted(w.Source)
		if there || !waits || t.left[w.Name] || !t.covered(w.Source) {
			continue
		}
		if t.tried[w.Name] {
			t.end = stuck
			return nil
		}
		t.tried[w.Name] = true
		if allowed := t.allowed([]Workspace{w}); len(allowed) > 0 {
			all = append(all, &candidate{source: w.Source, workspaces: allowed, carried: true})
		}
	}
	return all
}
