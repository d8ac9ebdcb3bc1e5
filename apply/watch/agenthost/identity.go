// Package agenthost is how an agent (package watch) uses the servers of its host
// for months. Connection opens them again after they were replaced. Subscribe
// subscribes to the engine's events again after an outage. Identity makes sure
// that no agents of two machines act under one host name. Reporter limits what
// is written to the store.
//
// It knows no driver: what it opens, and the store, are given to it.
package agenthost

import (
	"context"
	"fmt"
	"time"

	"carrel/plan/state"
)

// Store is what an agent needs of the store, apart from records and history.
type Store interface {
	// Shared reports whether other hosts may use the store.
	Shared() bool

	// AgentsOf are the last reports of the agents of a host, one of each set.
	AgentsOf(ctx context.Context, host string) ([]state.Agent, error)

	// SaveAgent writes the report of an agent, in place of its last one.
	SaveAgent(ctx context.Context, a state.Agent) error

	// DeleteAgent deletes the report of the agent of a set on a host.
	DeleteAgent(ctx context.Context, host, set string) error

	// SaveObservation writes what was observed of a host, in place of the last observation.
	SaveObservation(ctx context.Context, observed state.State) error

	// Trim deletes history from before a time, and the reports of agents that
	// have written none since another time.
	Trim(ctx context.Context, historyBefore, agentsBefore time.Time) error
}

// Identity is what tells a host from other machines that use the same store.
type Identity struct {
	Host string // its name in the store
	Boot string // the id of the kernel's boot; "" when unknown: then nothing is checked

	// Gone reports whether an agent does not run, judging by its last report.
	Gone func(last state.Agent, now time.Time) bool
}

// Check makes sure that no agent of another machine runs under the name of this
// host: each would undo what the other does. The agent that was there first goes
// on. The other gets a *NameTakenError until that one is gone.
func (i Identity) Check(ctx context.Context, store Store) error {
	if i.Boot == "" || !store.Shared() {
		return nil
	}
	agents, err := store.AgentsOf(ctx, i.Host)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, a := range agents {
		if a.Boot != "" && a.Boot != i.Boot && !i.Gone(a, now) {
			return &NameTakenError{Host: i.Host, Set: a.Set}
		}
	}
	return nil
}

// NameTakenError is that the agent of another machine runs under the name of
// this host.
type NameTakenError struct {
	Host string
	Set  string // of the other agent
}

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("another machine has the host name %s in this store, and its agent of set %s runs (give each machine a name of its own with --host)", e.Host, e.Set)
}

// LastPending is which changes needed approval when the agent of a host and a set
// reported last.
func LastPending(ctx context.Context, store Store, host, set string) ([]state.Pending, error) {
	agents, err := store.AgentsOf(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		if a.Set == set {
			return a.Pending, nil
		}
	}
	return nil, nil
}
