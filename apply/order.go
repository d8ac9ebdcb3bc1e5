package apply

import (
	"fmt"
	"slices"

	"carrel/plan"
)

// order has changes wait for others that must have been made before.
type order struct {
	changes []plan.Change // each after those that it waits for
	states  map[string]*changeState
}

// changeState is how far a change is.
type changeState struct {
	ended chan struct{} // closed when it has ended
	well  bool          // read when it has ended
}

// newOrder puts the changes of a plan in order. Changes that wait for each other
// cannot: the first of them does not wait.
func newOrder(all []plan.Change) *order {
	o := &order{states: make(map[string]*changeState, len(all))}
	for _, c := range all {
		o.states[c.Workspace] = &changeState{ended: make(chan struct{})}
	}
	if !slices.ContainsFunc(all, func(c plan.Change) bool { return len(c.After) > 0 }) {
		o.changes = all
		return o
	}
	left := slices.Clone(all)
	placed := map[string]bool{}
	ready := func(c plan.Change) bool {
		return !slices.ContainsFunc(c.After, func(name string) bool { return o.states[name] != nil && !placed[name] })
	}
	for len(left) > 0 {
		i := slices.IndexFunc(left, ready)
		if i < 0 {
			i = 0
			left[0].After = nil
		}
		placed[left[i].Workspace] = true
		o.changes = append(o.changes, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return o
}

// await waits until the changes before one have ended. It is an error when one of them
// has not gone well, or is not made.
func (o *order) await(c plan.Change) error {
	for _, name := range c.After {
		before := o.states[name]
		if before == nil {
			return fmt.Errorf("a port that it publishes is still that of %s (apply that change first)", name)
		}
		<-before.ended
		if !before.well {
			return fmt.Errorf("a port that it publishes is still that of %s, whose change has failed (apply again when that is mended)", name)
		}
	}
	return nil
}

func (o *order) ended(c plan.Change, well bool) {
	s := o.states[c.Workspace]
	s.well = well
	close(s.ended)
}
