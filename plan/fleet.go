package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carrel/spec"
)

// Fleet is what the store knows of all hosts: what their agents last said and
// saw.
type Fleet struct {
	Time    time.Time // of reading it
	Agents  []Agent   // by host and set
	Seen    []State   // by host, with the records of now
	Records []Record
}

// FleetView is a plan for all hosts as it is said: its JSON form.
type FleetView struct {
	Version int        `json:"version"`
	Hosts   []HostView `json:"hosts"`
	Notes   []string   `json:"notes"`
}

// HostView is the plan for one host, from what was last seen of it.
type HostView struct {
	Host       string    `json:"host"`
	ObservedAt time.Time `json:"observedAt"`
	Plan       View      `json:"plan"`
	Faults     []string  `json:"faults"` // of workspaces that are left as they are

	age string
}

// Plan plans for every host that was seen. What specs were loaded from is taken
// for the paths that the agent of the host watches, one by one.
func (f Fleet) Plan(want spec.Set, paths []string, opts Options) FleetView {
	v := FleetView{Version: Version, Hosts: []HostView{}, Notes: []string{}}
	hosts := map[string]bool{}
	claimable := f.unclaimed(want)
	for _, now := range f.Seen {
		hosts[now.Host] = true
		asHere := f.asThere(want, paths, now.Host)
		if len(f.Seen) > 1 {
			asHere.Workspaces = slices.DeleteFunc(asHere.Workspaces, func(w spec.Workspace) bool { return claimable[w.Name] })
		}
		p, faults := Around(asHere, now, opts)
		host := HostView{Host: now.Host, ObservedAt: now.Time, Plan: p.View(), Faults: []string{}, age: Since(f.Time.Sub(now.Time))}
		for _, fault := range faults {
			host.Faults = append(host.Faults, fault.Error())
		}
		v.Hosts = append(v.Hosts, host)
	}
	if len(f.Seen) > 1 {
		for _, name := range slices.Sorted(maps.Keys(claimable)) {
			v.Notes = append(v.Notes, fmt.Sprintf("%s names no host: it goes to the first that records it", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.named(want))) {
		if !hosts[name] {
			v.Notes = append(v.Notes, fmt.Sprintf("host %s has told nothing: no agent watches there with this store", name))
		}
	}
	return v
}

// unclaimed are the wanted workspaces that any host may have, and none has.
func (f Fleet) unclaimed(want spec.Set) map[string]bool {
	all := map[string]bool{}
	for _, w := range want.Workspaces {
		if w.Host == "" && !slices.ContainsFunc(f.Records, func(r Record) bool { return r.Workspace == w.Name }) {
			all[w.Name] = true
		}
	}
	return all
}

// named are the hosts that specs or records name.
func (f Fleet) named(want spec.Set) map[string]bool {
	all := map[string]bool{}
	for _, w := range want.Workspaces {
		all[w.Host] = true
	}
	for _, r := range f.Records {
		all[r.Host] = true
	}
	delete(all, "")
	return all
}

// asThere is the set as the agent of a host would load it.
func (f Fleet) asThere(want spec.Set, paths []string, host string) spec.Set {
	for _, a := range f.Agents {
		if a.Host == host && a.Set == want.Name && len(a.Paths) == len(paths) {
			for i := range paths {
				want = want.Moved(paths[i], a.Paths[i])
			}
		}
	}
	want.Workspaces = slices.Clone(want.Workspaces)
	return want
}

// Empty reports whether there is nothing to do on any host.
func (v FleetView) Empty() bool {
	return !slices.ContainsFunc(v.Hosts, func(h HostView) bool { return len(h.Plan.Changes) > 0 })
}

// Faults are those of all hosts, with the hosts before them.
func (v FleetView) Faults() []string {
	var all []string
	for _, h := range v.Hosts {
		for _, fault := range h.Faults {
			all = append(all, fmt.Sprintf("%s: on host %s", fault, h.Host))
		}
	}
	return all
}

// Text is the plan for a person to read.
func (v FleetView) Text() string {
	var b strings.Builder
	for i, h := range v.Hosts {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "host %s, as observed at %s (%s ago)\n%s", h.Host, h.ObservedAt.Format(time.RFC3339), h.age, h.Plan.Text())
	}
	if len(v.Hosts) == 0 {
		b.WriteString("No host has told what it has: agents (carrel watch) do.\n")
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", note)
	}
	return b.String()
}

// Markdown is the plan for a comment on a change request.
func (v FleetView) Markdown() string {
	var b strings.Builder
	for _, h := range v.Hosts {
		fmt.Fprintf(&b, "### Host %s\n\nAs observed at %s (%s ago).\n\n%s\n", h.Host, h.ObservedAt.Format(time.RFC3339), h.age, h.Plan.Markdown())
		for _, fault := range h.Faults {
			fmt.Fprintf(&b, "- **Fault:** %s\n", fault)
		}
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "\n- %s\n", note)
	}
	return b.String()
}

// FleetStatus is what the store knows of all hosts: its JSON form.
type FleetStatus struct {
	Agents     []Agent      `json:"agents"`
	Workspaces []SeenStatus `json:"workspaces"`
}

// SeenStatus is a workspace as it was last seen.
type SeenStatus struct {
	Status
	ObservedAt *time.Time `json:"observedAt,omitempty"` // nil when nobody has told
}

// Status is every workspace of the store, by host and name.
func (f Fleet) Status() FleetStatus {
	v := FleetStatus{Agents: notNil(f.Agents), Workspaces: []SeenStatus{}}
	seen := map[string]bool{}
	for _, now := range f.Seen {
		seen[now.Host] = true
		for _, s := range Statuses(now) {
			v.Workspaces = append(v.Workspaces, SeenStatus{WithWaiting(s, f.Agents), &now.Time})
		}
	}
	for _, r := range f.Records {
		if !seen[r.Host] {
			s := Status{Workspace: r.Workspace, Host: r.Host}
			s.addRecord(r)
			s.State = "not seen"
			v.Workspaces = append(v.Workspaces, SeenStatus{Status: s})
		}
	}
	slices.SortStableFunc(v.Workspaces, func(a, b SeenStatus) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Workspace, b.Workspace))
	})
	return v
}

// WithWaiting is the status of a workspace with what an agent says of its next
// try.
func WithWaiting(s Status, agents []Agent) Status {
	for _, a := range agents {
		for _, w := range a.Waiting {
			if a.Host == s.Host && w.Workspace == s.Workspace {
				s.Restarts, s.NextTry = w.Tries, &w.Until
			}
		}
	}
	return s
}
