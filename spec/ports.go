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

// checkPorts finds ports of a host that two workspaces want, or one twice.
func checkPorts(workspaces []Workspace, faults *Errors) {
	type key struct {
		number   int
		protocol string
	}
	taken := map[key][]port{}
	for i := range workspaces {
		w := &workspaces[i]
		for j, wanted := range w.Network.Ports {
			if wanted.Host == 0 { // its fault is reported
				continue
			}
			key, p := key{wanted.Host, wanted.Protocol}, port{w, fmt.Sprintf("network.ports[%d].host", j), wanted}
			for _, o := range taken[key] {
				if p.meets(o) {
					faults.Add(w.At(p.at), "choose another port",
						"port %d/%s of the host is wanted by %s too, at %s", p.Host, p.Protocol, o.w.Name, o.w.At(o.at))
					break
				}
			}
			taken[key] = append(taken[key], p)
		}
	}
}
