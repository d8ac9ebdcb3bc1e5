package agenthost

import (
	"context"
	"time"

	"carrel/plan/state"
)

// Retention: how long the store keeps what nobody deletes, and how often an agent
// deletes what is older.
const (
	historyRetention = 365 * 24 * time.Hour
	agentRetention   = 30 * 24 * time.Hour // since the last report of an agent
	trimInterval     = 24 * time.Hour
)

// observePause limits the load on the store: after an observation that took d to
// write, the next one waits observePause*d. A large host is written less often.
const observePause = 20

// Reporter writes the reports and the observations of an agent to the store. It
// is used by one goroutine at a time.
type Reporter struct {
	Identity Identity

	set        string    // of the last report: the report of a set that was renamed is deleted
	observedAt time.Time // of the last observation that was written
	observeAt  time.Time // no observation is written before
	trimAt     time.Time // when the store is trimmed next
}

// Report writes a report, and what was observed if the store has an older
// observation and the pause since that is over. It writes nothing while another
// machine has the name of this host.
func (r *Reporter) Report(ctx context.Context, store Store, a state.Agent, observed state.State) error {
	if err := r.Identity.Check(ctx, store); err != nil {
		return err
	}
	if err := r.saveAgent(ctx, store, a); err != nil {
		return err
	}
	if err := r.saveObservation(ctx, store, observed); err != nil {
		return err
	}
	now := time.Now()
	if now.Before(r.trimAt) {
		return nil
	}
	r.trimAt = now.Add(trimInterval)
	return store.Trim(ctx, now.Add(-historyRetention), now.Add(-agentRetention))
}

// saveAgent writes a report. An agent whose set has another name than before
// leaves no report under the old one.
func (r *Reporter) saveAgent(ctx context.Context, store Store, a state.Agent) error {
	if err := store.SaveAgent(ctx, a); err != nil {
		return err
	}
	if r.set != "" && r.set != a.Set {
		if err := store.DeleteAgent(ctx, a.Host, r.set); err != nil {
			return err // the next report deletes it
		}
	}
	r.set = a.Set
	return nil
}

func (r *Reporter) saveObservation(ctx context.Context, store Store, observed state.State) error {
	began := time.Now()
	if !observed.Time.After(r.observedAt) || began.Before(r.observeAt) {
		return nil
	}
	err := store.SaveObservation(ctx, observed)
	if err == nil {
		r.observedAt = observed.Time
	}
	now := time.Now()
	r.observeAt = now.Add(observePause * now.Sub(began))
	return err
}
