package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// Fleet is what the store knows of all hosts: the last report and the last
// observation of each agent.
type Fleet struct {
	Time     time.Time        // when the store was read
	Agents   []state.Agent    // by host and set
	Observed []state.State    // by host, with the current records
	Unread   map[string]error // by host: why its observation is unreadable
	Records  []state.Record
}

// FleetPlan is the JSON form of a plan for all hosts; schema/fleet.schema.json
// describes it.
type FleetPlan struct {
	Version int        `json:"version"`
	Hosts   []HostPlan `json:"hosts"`
	Notes   []string   `json:"notes"`
}

// HostPlan is the plan for one host, from the last observation of it.
type HostPlan struct {
	Host       string    `json:"host"`
	ObservedAt time.Time `json:"observedAt"`
	Plan       Plan      `json:"plan"`
	Errors     []string  `json:"errors"` // why workspaces are left unchanged

	age string // of the observation
}

// Plan plans for every host that was observed. paths are the paths that the specs
// were loaded from; the first one corresponds to the first path that the agent of
// a host watches, and so on.
func (f Fleet) Plan(want spec.Set, paths []string, opts plan.Options) FleetPlan {
	v := FleetPlan{Version: Version, Hosts: []HostPlan{}, Notes: []string{}}
	claimable := f.unclaimed(want)
	for _, now := range f.Observed {
		there := f.asThere(want, paths, now.Host)
		if len(f.Observed) > 1 {
			there.Workspaces = slices.DeleteFunc(there.Workspaces, func(w spec.Workspace) bool { return claimable[w.Name] })
		}
		p, errs := plan.Around(there, now, opts)
		host := HostPlan{Host: now.Host, ObservedAt: now.Time, Plan: OfPlan(p), Errors: []string{}, age: decide.Since(f.Time.Sub(now.Time))}
		for _, err := range errs {
			host.Errors = append(host.Errors, err.Error())
		}
		v.Hosts = append(v.Hosts, host)
	}
	if len(f.Observed) > 1 {
		for _, name := range slices.Sorted(maps.Keys(claimable)) {
			v.Notes = append(v.Notes, fmt.Sprintf("%s names no host: it will belong to the first host that records it", name))
		}
	}
	v.Notes = append(v.Notes, f.unobserved(want)...)
	return v
}

// unobserved is a note for each host without an observation.
func (f Fleet) unobserved(want spec.Set) (notes []string) {
	observed := map[string]bool{}
	for _, now := range f.Observed {
		observed[now.Host] = true
	}
	for _, name := range slices.Sorted(maps.Keys(f.named(want))) {
		switch {
		case f.Unread[name] != nil:
			notes = append(notes, fmt.Sprintf("host %s: %s", name, f.Unread[name]))
		case !observed[name]:
			notes = append(notes, fmt.Sprintf("host %s was never observed: no agent (carrel watch) runs there with this store", name))
		}
	}
	return notes
}

// unclaimed are the desired workspaces that name no host and that no host has.
func (f Fleet) unclaimed(want spec.Set) map[string]bool {
	all := map[string]bool{}
	for _, w := range want.Workspaces {
		recorded := func(r state.Record) bool { return r.Workspace == w.Name || r.Workspace == w.RenamedFrom }
		if w.Host == "" && !slices.ContainsFunc(f.Records, recorded) {
			all[w.Name] = true
		}
	}
	return all
}

// named are the hosts in specs, records and unreadable observations.
func (f Fleet) named(want spec.Set) map[string]bool {
	all := map[string]bool{}
	for _, w := range want.Workspaces {
		all[w.Host] = true
	}
	for _, r := range f.Records {
		all[r.Host] = true
	}
	for host := range f.Unread {
		all[host] = true
	}
	delete(all, "")
	return all
}

// asThere is the set with the paths that the agent of a host loads it from.
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
func (v FleetPlan) Empty() bool {
	return !slices.ContainsFunc(v.Hosts, func(h HostPlan) bool { return len(h.Plan.Changes) > 0 })
}

// Errors are the errors of all hosts, each with its host.
func (v FleetPlan) Errors() []string {
	var all []string
	for _, h := range v.Hosts {
		for _, text := range h.Errors {
			all = append(all, fmt.Sprintf("%s: on host %s", text, h.Host))
		}
	}
	return all
}

// Text is the plan for people.
func (v FleetPlan) Text() string {
	var b strings.Builder
	for i, h := range v.Hosts {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "host %s, as observed at %s (%s ago)\n%s", h.Host, h.ObservedAt.Format(time.RFC3339), h.age, h.Plan.Text())
	}
	if len(v.Hosts) == 0 {
		b.WriteString("No host has been observed yet (run carrel watch on each host).\n")
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", note)
	}
	return b.String()
}

// FleetStatus is the JSON form of the status of all hosts.
type FleetStatus struct {
	Agents     []state.Agent    `json:"agents"`
	Workspaces []ObservedStatus `json:"workspaces"`
}

// ObservedStatus is the status of a workspace at the last observation.
type ObservedStatus struct {
	Status
	ObservedAt *time.Time `json:"observedAt,omitempty"` // nil without an observation
}

// Status is every workspace of the store, by host and name.
func (f Fleet) Status() FleetStatus {
	v := FleetStatus{Agents: notNil(f.Agents), Workspaces: []ObservedStatus{}}
	observed, agents := map[string]bool{}, Running(f.Agents, f.Time)
	for _, now := range f.Observed {
		observed[now.Host] = true
		for _, s := range WithUnmade(Statuses(now), now.Host, agents...) {
			v.Workspaces = append(v.Workspaces, ObservedStatus{s.Of(agents...), &now.Time})
		}
	}
	for _, r := range f.Records {
		if !observed[r.Host] {
			s := Status{Workspace: r.Workspace, Host: r.Host}
			s.addRecord(r)
			s.State = StateNotObserved
			v.Workspaces = append(v.Workspaces, ObservedStatus{Status: s})
		}
	}
	slices.SortStableFunc(v.Workspaces, func(a, b ObservedStatus) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Workspace, b.Workspace))
	})
	return v
}
