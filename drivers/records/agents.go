package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"carrel/drivers/records/query"
	"carrel/plan"
	"carrel/plan/state"
)

// agentsVersion is the first version of the tables that has agents and
// observations.
const agentsVersion = 3

// ClaimRecord makes an empty record, so that no other host takes the workspace
// too. It succeeds when this host and set have the record already.
func (s *Store) ClaimRecord(ctx context.Context, step plan.ClaimRecord, history []state.Entry) error {
	now := time.Now().UnixMicro()
	return s.write(ctx, history, func(q *query.Queries) error {
		written, err := q.ClaimRecord(ctx, query.ClaimRecordParams{
			Workspace: step.Workspace, SetName: step.Set, Host: step.Host, Source: step.Source,
			CreatedAt: now, UpdatedAt: now, UpdatedBy: who(history),
		})
		if err != nil || written == 1 {
			return err
		}
		found, err := q.GetRecord(ctx, step.Workspace)
		if err != nil || found.Host == step.Host && found.SetName == step.Set {
			return err
		}
		return &plan.ClaimedError{Workspace: found.Workspace, Host: found.Host, Set: found.SetName, At: time.UnixMicro(found.UpdatedAt).UTC()}
	})
}

// SaveAgent writes the report of an agent over its last one.
func (s *Store) SaveAgent(ctx context.Context, a state.Agent) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.explain(query.New(s.db).SaveAgent(ctx, query.SaveAgentParams{
		Host: a.Host, SetName: a.Set, SeenAt: a.SeenAt.UnixMicro(), State: string(text),
	}))
}

// DeleteAgent deletes the report of an agent.
func (s *Store) DeleteAgent(ctx context.Context, host, set string) error {
	return s.explain(query.New(s.db).DeleteAgent(ctx, query.DeleteAgentParams{Host: host, SetName: set}))
}

// Agents are the last reports of all agents, sorted by host and set.
func (s *Store) Agents(ctx context.Context) ([]state.Agent, error) {
	if s.db == nil || s.have < agentsVersion {
		return nil, nil
	}
	rows, err := query.New(s.db).ListAgents(ctx)
	return s.agents(rows, err)
}

// AgentsOf are the last reports of a host's agents, sorted by set.
func (s *Store) AgentsOf(ctx context.Context, host string) ([]state.Agent, error) {
	if s.db == nil || s.have < agentsVersion {
		return nil, nil
	}
	rows, err := query.New(s.db).ListAgentsOfHost(ctx, host)
	return s.agents(rows, err)
}

func (s *Store) agents(rows []query.Agent, err error) ([]state.Agent, error) {
	if err != nil {
		return nil, s.explain(err)
	}
	all := make([]state.Agent, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal([]byte(row.State), &all[i]); err != nil {
			return nil, s.explain(fmt.Errorf("agent of host %s: %w", row.Host, err))
		}
	}
	return all, nil
}

// SaveObservation writes what was observed of a host over the last observation
// of that host.
func (s *Store) SaveObservation(ctx context.Context, now state.State) error {
	text, err := state.Encode(now)
	if err != nil {
		return err
	}
	return s.explain(query.New(s.db).SaveObservation(ctx, query.SaveObservationParams{
		Host: now.Host, At: now.Time.UnixMicro(), State: string(text),
	}))
}

// Observations are the last observations of all hosts, sorted by host. Unread
// says by host why an observation cannot be read: another version of carrel
// wrote it.
func (s *Store) Observations(ctx context.Context) (all []state.State, unread map[string]error, err error) {
	if s.db == nil || s.have < agentsVersion {
		return nil, nil, nil
	}
	records, err := s.Records(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := query.New(s.db).ListObservations(ctx)
	if err != nil {
		return nil, nil, s.explain(err)
	}
	unread = map[string]error{}
	for _, row := range rows {
		now, err := state.Decode([]byte(row.State), records)
		if err != nil {
			unread[row.Host] = err
			continue
		}
		all = append(all, now)
	}
	return all, unread, nil
}

// Trim deletes the history before one time, and the agents that did not report
// after another.
func (s *Store) Trim(ctx context.Context, history, agents time.Time) error {
	_, err := query.New(s.db).DeleteHistory(ctx, history.UnixMicro())
	return s.explain(errors.Join(err, query.New(s.db).DeleteAgents(ctx, agents.UnixMicro())))
}

// Shared reports whether other hosts can use the store too.
func (s *Store) Shared() bool { return s.shared }
