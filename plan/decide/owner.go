package decide

import (
	"fmt"

	"carrel/plan/state"
	"carrel/spec"
)

// others reports whether a desired workspace is not this plan's to decide about.
// What belongs to another set or host is an error, except a workspace that any
// host may have.
func (f Frame) others(d *Decision) bool {
	here := d.Desired.Host == "" || d.Desired.Host == f.Now.Host || f.Back // a rollback stays on this host
	r, c := d.Record, d.Instance
	recordedHere := r != nil && r.Host == f.Now.Host
	switch {
	case recordedHere && !here:
		d.Errors.Add(d.Desired.At("host"), moving(*r, d.Desired.Host),
			"workspace %s is on this host, %s, with its data; its spec moves it to %s", d.Name, f.Now.Host, d.Desired.Host)
	case !here, r != nil && !recordedHere && d.Desired.Host == "":
		d.Counted = Elsewhere
		if c != nil && c.Workspace != "" && c.Host == f.Now.Host && r != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("container %s says that it is workspace %s of this host, which belongs to host %s (carrel delete %s preserves its data)", c.ID, d.Name, r.Host, d.Name))
		}
	case r != nil && r.Set != f.Set.Name:
		d.Errors.Add(d.Desired.At("metadata.name"), "choose another name, or delete it there",
			"workspace %s belongs to set %s, this is set %s", d.Name, r.Set, f.Set.Name)
	case r != nil && !recordedHere:
		d.Errors.Add(d.Desired.At("host"), moving(*r, f.Now.Host),
			"workspace %s is on host %s, with its data; its spec moves it here, to %s", d.Name, r.Host, f.Now.Host)
	case c != nil && c.Workspace != "" && c.Set != "" && c.Set != f.Set.Name:
		d.Errors.Add(d.Desired.At("metadata.name"), "choose another name, or delete it there",
			"container %s belongs to set %s, this is set %s", c.ID, c.Set, f.Set.Name)
	case c != nil && c.Workspace != "" && c.Host != "" && c.Host != f.Now.Host:
		d.Errors.Add(d.Desired.At("metadata.name"), "if the host was renamed, pass its old name with --host",
			"container %s was made for host %s, this is %s", c.ID, c.Host, f.Now.Host)
	default:
		return false
	}
	return true
}

// moving says how a workspace comes to another host with its data: the other one
// does not begin before this one has given it up.
func moving(r state.Record, to string) string {
	keeps := "which keeps a copy there"
	if r.Applied != nil && r.Applied.PreserveData != spec.PreserveAlways {
		keeps = "which deletes it there"
	}
	return fmt.Sprintf("on %s: carrel stop %s, carrel data export %s; on %s: carrel data import %s FILE; on %s: carrel delete %s, %s; or set host back",
		r.Host, r.Workspace, r.Workspace, to, r.Workspace, r.Host, r.Workspace, keeps)
}
