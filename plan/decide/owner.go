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
	case !here && d.From.recordedHere(f):
		d.Errors.Add(d.Desired.At("host"), "rename it first, apply, and then move it",
			"workspace %s is on this host, %s, with its data; its spec renames it to %s and moves it to %s", d.From.Name, f.Now.Host, d.Name, d.Desired.Host)
	case recordedHere && !here:
		d.Errors.Add(d.Desired.At("host"), moving(*r, d.Desired.Host),
			"workspace %s is on this host, %s, with its data; its spec moves it to %s", d.Name, f.Now.Host, d.Desired.Host)
	case !here, r != nil && !recordedHere && d.Desired.Host == "":
		d.Counted = Elsewhere
		if c != nil && c.Workspace != "" && c.Host == f.Now.Host && r != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("container %s says that it is workspace %s of this host, which belongs to host %s (carrel delete %s preserves its data)", c.ID, d.Name, r.Host, d.Name))
		}
	case r != nil && r.Set != f.Set.Name:
		f.othersSet(d, "workspace "+d.Name, "workspaces %s", r.Set)
	case r != nil && !recordedHere:
		d.Errors.Add(d.Desired.At("host"), moving(*r, f.Now.Host),
			"workspace %s is on host %s, with its data; its spec moves it here, to %s", d.Name, r.Host, f.Now.Host)
	case c != nil && c.Workspace != "" && c.Set != "" && c.Set != f.Set.Name:
		f.othersSet(d, "container "+c.ID, "the containers of workspaces %s", c.Set)
	case c != nil && c.Workspace != "" && c.Host != "" && c.Host != f.Now.Host:
		d.Errors.Add(d.Desired.At("metadata.name"), "if the host was renamed, pass its old name with --host",
			"container %s was made for host %s, this is %s", c.ID, c.Host, f.Now.Host)
	default:
		return false
	}
	return true
}

// othersSet is the error of a workspace that belongs to another set. Usually a whole
// set was renamed, or only a part of it was loaded: then all of its workspaces have
// this error, for one cause.
func (f Frame) othersSet(d *Decision, one, several, owner string) {
	hint := "choose another name, or delete it there"
	switch {
	case f.Set.At == (spec.Pos{}):
		hint = fmt.Sprintf("load the WorkspaceSet that names %s too, for example its folder; or choose another name, or delete it there", owner)
	case f.Set.At.File != d.Desired.At("metadata.name").File:
		hint = fmt.Sprintf("%s names this set; choose another name, or delete it there", f.Set.At)
	}
	is := fmt.Sprintf(" to set %s, this is set %s", owner, f.Set.Name)
	d.Errors = append(d.Errors, spec.Error{
		Pos: d.Desired.At("metadata.name"), Msg: one + " belongs" + is, Several: several + " belong" + is, Hint: hint,
	})
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
