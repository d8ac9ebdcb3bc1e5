package spec

import "fmt"

// port is one that a workspace wants of its host.
type port struct {
	w  *Workspace
	at string
	Port
}

// meets reports whether two ports cannot both be open. Workspaces that name
// different hosts do not meet.
func (p port) meets(o port) bool {
	otherHost := p.w.Host != "" && o.w.Host != "" && p.w.Host != o.w.Host
	return !otherHost && p.Meets(o.Port)
}

// Meets reports whether one host cannot publish both ports. No address is every
// address.
func (p Port) Meets(o Port) bool {
	otherIP := p.HostIP != "" && o.HostIP != "" && p.HostIP != o.HostIP
	return p.Host == o.Host && p.Protocol == o.Protocol && !otherIP
}

// ports are those that workspaces want of their hosts.
type ports map[portKey][]port

type portKey struct {
	number   int
	protocol string
}

func (p port) key() portKey { return portKey{p.Host, p.Protocol} }

// portsOf are the ports that a workspace wants, without those that have a
// fault.
func portsOf(w *Workspace) (wanted []port) {
	for i, p := range w.Network.Ports {
		if p.Host != 0 {
			wanted = append(wanted, port{w, fmt.Sprintf("network.ports[%d].host", i), p})
		}
	}
	return wanted
}

// checkPorts finds ports of a host that two workspaces want, or one twice.
func checkPorts(workspaces []Workspace, faults *Errors) {
	taken := ports{}
	for i := range workspaces {
		for _, p := range portsOf(&workspaces[i]) {
			for _, o := range taken[p.key()] {
				if p.meets(o) {
					faults.portTaken(p, o)
					break
				}
			}
			taken[p.key()] = append(taken[p.key()], p)
		}
	}
}

func (e *Errors) portTaken(p, by port) {
	e.Add(p.w.At(p.at), "choose another port",
		"port %d/%s of the host is wanted by %s too, at %s", p.Host, p.Protocol, by.w.Name, by.w.At(by.at))
}
