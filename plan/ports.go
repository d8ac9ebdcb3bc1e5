package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// portUse is who has the ports of the host, before a plan and after it.
type portUse struct {
	frame   decide.Frame
	changes map[string]Change // by workspace
	before  map[string][]spec.Port
	after   map[string][]spec.Port
	users   map[int][]string  // workspaces by port of the host, before or after
	renamed map[string]string // from the old name to the one that the plan gives
}

// checkPorts takes out of a plan what would publish a port that something else has
// when the plan is carried out, until nothing does: what is taken out keeps its own
// ports. A change that publishes what another one gives up waits for that.
func checkPorts(f decide.Frame, p *Plan) (errs spec.Errors) {
	for slices.ContainsFunc(p.Changes, func(c Change) bool { return len(c.publishes()) > 0 }) {
		use := newPortUse(f, *p)
		all := len(p.Changes)
		p.Changes = slices.DeleteFunc(p.Changes, func(c Change) bool {
			for i, port := range c.publishes() {
				if by := use.holder(c, port); by != "" {
					errs = append(errs, c.portError(i, port, by))
					return true
				}
			}
			return false
		})
		if len(p.Changes) == all {
			for i := range p.Changes {
				use.order(&p.Changes[i])
			}
			return errs
		}
	}
	return errs
}

func newPortUse(f decide.Frame, p Plan) portUse {
	use := portUse{frame: f, changes: map[string]Change{}, before: map[string][]spec.Port{}, users: map[int][]string{}, renamed: map[string]string{}}
	for _, a := range f.Now.Networks {
		use.before[a.Workspace] = a.Ports
	}
	use.after = maps.Clone(use.before)
	for _, c := range p.Changes {
		use.changes[c.Workspace] = c
		if c.RenamedFrom != "" {
			use.renamed[c.RenamedFrom] = c.Workspace
		}
		use.carryOut(c)
	}
	for _, name := range slices.Sorted(maps.Keys(use.after)) {
		for _, port := range slices.Concat(use.before[name], use.after[name]) {
			use.users[port.Host] = append(use.users[port.Host], name)
		}
	}
	return use
}

// publishes are the ports that a change attaches its workspace with.
func (c Change) publishes() []spec.Port {
	for _, s := range c.Steps {
		if attach, ok := s.(AttachNetwork); ok {
			return attach.Ports
		}
	}
	return nil
}

// carryOut notes what is published after a change.
func (u portUse) carryOut(c Change) {
	for _, s := range c.Steps {
		if detach, ok := s.(DetachNetwork); ok {
			u.after[detach.Workspace] = nil
		}
		if attach, ok := s.(AttachNetwork); ok {
			u.after[attach.Workspace] = attach.Ports
		}
	}
}

// current is the name of a workspace after the plan.
func (u portUse) current(name string) string { return cmp.Or(u.renamed[name], name) }

// ends reports whether the change ends the process of its workspace.
func (c Change) ends() bool {
	return slices.ContainsFunc(c.Steps, func(s Step) bool { _, ok := s.(StopTask); return ok })
}

func meets(ports []spec.Port, port spec.Port) bool { return slices.ContainsFunc(ports, port.Meets) }

// holder is what has a port that a change is to publish; "" when nothing has. Of two
// changes that are to publish it, the one whose workspace has it now may.
func (u portUse) holder(c Change, port spec.Port) string {
	for _, t := range u.frame.Now.Taken {
		if owner := u.owner(t); t.Meets(port) && owner != c.Workspace && !u.changes[owner].ends() {
			return t.By
		}
	}
	had := meets(u.before[c.Workspace], port) || meets(u.before[c.RenamedFrom], port)
	for _, name := range u.users[port.Host] {
		if name == c.Workspace || !meets(u.after[name], port) {
			continue
		}
		rival := meets(u.changes[name].publishes(), port)
		if has := meets(u.before[name], port); !rival || has && !had || has == had && name < c.Workspace {
			return fmt.Sprintf("workspace %s publishes it", name)
		}
	}
	return ""
}

// owner is the workspace whose process has a port; "" when none's.
func (u portUse) owner(t state.TakenPort) string {
	if t.Container == "" {
		return ""
	}
	for _, c := range u.frame.Now.Instances {
		if c.ID == t.Container {
			return u.current(c.Workspace)
		}
	}
	return ""
}

// order has a change wait for those that give up what it is to publish.
func (u portUse) order(c *Change) {
	after := map[string]bool{}
	for _, port := range c.publishes() {
		for _, name := range u.users[port.Host] {
			now := u.current(name)
			after[now] = after[now] || meets(u.before[name], port)
		}
		for _, t := range u.frame.Now.Taken {
			after[u.owner(t)] = after[u.owner(t)] || t.Meets(port)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, changes := u.changes[name]; changes && after[name] && name != c.Workspace {
			c.After = append(c.After, name)
			c.Reasons = append(slices.Clip(c.Reasons), fmt.Sprintf("a port that it publishes is free when %s has changed", name))
		}
	}
}

// portError is the error of a port that something else has, at its place in the spec.
func (c Change) portError(i int, port spec.Port, by string) spec.Error {
	e := spec.Error{
		Msg:  fmt.Sprintf("port %s is taken on this host: %s", port.OnHost(), by),
		Hint: "choose another port, or stop that",
	}
	if c.desired == nil {
		e.Msg = c.Workspace + ": " + e.Msg
		return e
	}
	e.Pos = c.desired.At(fmt.Sprintf("network.ports[%d].host", i))
	return e
}
