package plan

import (
	"slices"

	"carrel/plan/state"
	"carrel/spec"
)

// start adds the steps that start the task of a workspace, its network first:
// the process has its address from its first instruction.
func (p *planner) start(s subject, change *Change, network spec.Network, container string) {
	p.attach(s, change, network)
	change.Steps = append(change.Steps, StartTask{Workspace: s.name, Container: container})
}

// attach adds what gives a workspace the network it wants. A network that works
// is kept, and with it the address.
func (p *planner) attach(s subject, change *Change, wanted spec.Network) {
	has := p.networks[s.name]
	cni := wanted.Mode == spec.NetworkCNI
	switch {
	case !cni:
		p.detach(s, change)
		return
	case has != nil && ports(has.Ports) != ports(wanted.Ports):
		p.detach(s, change)
	case has != nil && has.Broken == "" && has.Netns != 0:
		return
	case has != nil && has.Broken != "":
		change.because(has.Broken)
	}
	change.Steps = append(change.Steps, AttachNetwork{Workspace: s.name, Set: p.want.Name, Ports: wanted.Ports})
}

// detach adds what takes the network of a workspace away, if it has one.
func (p *planner) detach(s subject, change *Change) {
	if p.networks[s.name] == nil {
		return
	}
	change.Steps = append(change.Steps, DetachNetwork{Workspace: s.name})
	p.networks[s.name] = nil
}

// mend repairs the network of a task that runs: in place when its namespace is
// still the one that is pinned, else with a restart.
func (p *planner) mend(s subject, change *Change) {
	task, has := s.container.Task, p.networks[s.name]
	if s.want.Network.Mode != spec.NetworkCNI || task.Status != state.TaskRunning {
		return
	}
	switch {
	case has == nil:
		p.renew(s, change, "its network is not attached")
	case has.Netns == 0:
		p.renew(s, change, has.Broken)
	case task.Netns != 0 && task.Netns != has.Netns:
		p.renew(s, change, "its process is in another network namespace")
	case has.Broken != "":
		change.then(ActionRepair, CostInPlace, has.Broken)
		p.attach(s, change, s.want.Network)
	}
}

func (p *planner) renew(s subject, change *Change, reason string) {
	change.then(ActionRestart, CostRestart, reason)
	change.Steps = append(change.Steps, stop(s))
	p.start(s, change, s.want.Network, s.container.ID)
}

// abandoned detaches the networks of workspaces of this set that are gone.
func (p *planner) abandoned() {
	for _, a := range p.now.Networks {
		known := slices.ContainsFunc(p.plan.Changes, func(c Change) bool { return c.Workspace == a.Workspace }) ||
			slices.ContainsFunc(p.want.Workspaces, func(w spec.Workspace) bool { return w.Name == a.Workspace }) ||
			p.records[a.Workspace] != nil || len(p.byLabel[a.Workspace]) > 0 || p.opts.Busy[a.Workspace]
		if known || a.Set != p.want.Name {
			continue
		}
		p.add(subject{name: a.Workspace}, Change{
			Action: ActionClean, Cost: CostNone, Reasons: []string{"its workspace is gone, and its network is still attached"},
			Steps: []Step{DetachNetwork{Workspace: a.Workspace}},
		})
	}
}

// networkNoted says what networks are attached with, when one is to be.
func (p *planner) networkNoted() {
	for _, c := range p.plan.Changes {
		for _, s := range c.Steps {
			if _, attaches := s.(AttachNetwork); attaches && p.now.CNI != "" {
				p.note("networks: %s", p.now.CNI)
				return
			}
		}
	}
}

// taken adds a fault for every port that a workspace of another set has.
func (p *planner) taken(s subject) {
	for i, wanted := range s.want.Network.Ports {
		for _, a := range p.now.Networks {
			if a.Set == p.want.Name || a.Workspace == s.name {
				continue
			}
			if slices.ContainsFunc(a.Ports, func(port spec.Port) bool { return port.Meets(wanted) }) {
				p.faults.Add(s.want.At(at("network.ports", i)), "choose another port",
					"port %d/%s of the host is published by workspace %s of set %s", wanted.Host, wanted.Protocol, a.Workspace, a.Set)
			}
		}
	}
}
