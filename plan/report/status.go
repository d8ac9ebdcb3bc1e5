package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// State is the state of a workspace in a word or two.
type State string

// The states.
const (
	StateWaiting       State = "waiting"         // an agent will make its container
	StateBlocked       State = "blocked"         // it has no container, and its spec or the host has an error
	StateNew           State = "new"             // it has a record and no container yet
	StateFailed        State = "failed"          // its creation failed
	StateCreated       State = "created"         // its task exists and was never started
	StateRunning       State = "running"         //
	StatePaused        State = "paused"          //
	StateUnknown       State = "unknown"         // the shim of its task does not respond
	StateStopped       State = "stopped"         // it has no task, or its task has ended
	StateStoppedByUser State = "stopped by user" // carrel stop, until carrel start
	StateMissing       State = "missing"         // its container is gone
	StateOrphan        State = "orphan"          // no record knows it
	StateDeleted       State = "deleted"         // only its data is left: preserved, or a volume that no workspace has
	StateNotObserved   State = "not observed"    // no agent has reported its host
)

// States are all states, in the order of lists.
var States = []State{
	StateWaiting, StateBlocked, StateNew, StateFailed, StateCreated, StateRunning, StatePaused, StateUnknown, StateStopped, StateStoppedByUser,
	StateMissing, StateOrphan, StateDeleted, StateNotObserved,
}

// Idle reports whether a workspace in this state does not run, and its spec or a
// user may have said so.
func (s State) Idle() bool {
	return s == StateStopped || s == StateStoppedByUser || s == StateDeleted
}

// taskStates is the state of a workspace by the status of its task.
var taskStates = map[state.TaskStatus]State{
	state.TaskNone: StateStopped, state.TaskCreated: StateCreated, state.TaskRunning: StateRunning,
	state.TaskPaused: StatePaused, state.TaskStopped: StateStopped, state.TaskUnknown: StateUnknown,
}

// Status is the current status of one workspace: its record, joined with what was
// observed.
type Status struct {
	Workspace     string      `json:"workspace"`
	Set           string      `json:"set"`
	Host          string      `json:"host"`
	State         State       `json:"state"`
	Running       bool        `json:"running"`
	PID           uint32      `json:"pid,omitempty"`
	UpSince       *time.Time  `json:"upSince,omitempty"`
	ExitCode      *uint32     `json:"exitCode,omitempty"`
	ExitedAt      *time.Time  `json:"exitedAt,omitempty"`
	OOMKills      uint64      `json:"oomKills,omitempty"` // processes of the task that the kernel killed because it was out of memory
	Container     string      `json:"container,omitempty"`
	Image         string      `json:"image,omitempty"`
	Digest        string      `json:"digest,omitempty"`
	Address       string      `json:"address,omitempty"`
	Volume        string      `json:"volume,omitempty"`
	Preserved     []time.Time `json:"preserved,omitempty"` // oldest first
	StoppedByUser bool        `json:"stoppedByUser"`
	LastError     string      `json:"lastError,omitempty"`
	Reason        string      `json:"reason,omitempty"`   // why it is waiting or blocked
	Restarts      int         `json:"restarts,omitempty"` // by an agent, since the task last ran for long
	NextRetry     *time.Time  `json:"nextRetry,omitempty"`
	UpdatedAt     *time.Time  `json:"updatedAt,omitempty"`
}

// Statuses are the workspaces of the observed host, by name: all that have a
// record, a container that carrel manages, or data.
func Statuses(now state.State) []Status {
	byName := map[string]*Status{}
	of := func(name string) *Status {
		if byName[name] == nil {
			byName[name] = &Status{Workspace: name, Host: now.Host}
		}
		return byName[name]
	}
	for _, r := range now.Records {
		if r.Host == now.Host {
			of(r.Workspace).addRecord(r)
		}
	}
	for _, c := range now.Instances {
		if c.Workspace != "" && c.Host == now.Host {
			of(c.Workspace).addInstance(c)
		}
	}
	for _, v := range now.Volumes {
		s := of(v.Workspace)
		s.State, s.Volume = cmp.Or(s.State, StateDeleted), v.Path
	}
	for _, a := range now.Networks {
		if s := byName[a.Workspace]; s != nil {
			s.Address = strings.Join(a.Addresses, ", ")
		}
	}
	for _, v := range now.Preserved {
		s := of(v.Workspace)
		s.State = cmp.Or(s.State, StateDeleted)
		s.Preserved = append(s.Preserved, v.At)
	}
	all := make([]Status, 0, len(byName))
	for _, s := range byName {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Workspace, b.Workspace) })
	return all
}

func (s *Status) addRecord(r state.Record) {
	s.Set, s.Container, s.StoppedByUser, s.LastError = r.Set, r.Container, r.StoppedByUser, r.LastError
	s.State, s.UpdatedAt = StateMissing, &r.UpdatedAt
	switch {
	case r.Container == "" && r.LastError == "":
		s.State = StateNew
	case r.Container == "":
		s.State = StateFailed
	}
	if r.Applied != nil {
		s.Image = r.Applied.Image
		if r.Applied.Network.Mode == spec.NetworkHost {
			s.Address = "host"
		}
	}
}

func (s *Status) addInstance(c state.Instance) {
	switch {
	case s.UpdatedAt == nil:
		s.Set, s.State, s.Container = c.Set, StateOrphan, c.ID
	case s.Container != c.ID:
		return // a second container with the same label: plans report it
	case s.StoppedByUser && !c.Task.Alive():
		s.State = StateStoppedByUser
	default:
		s.State = taskStates[c.Task.Status]
	}
	s.Digest, s.Running, s.OOMKills = c.Digest, c.Task.Alive(), c.Task.OOMKills
	if c.Applied != nil {
		s.Image = c.Applied.Image
	}
	if s.Running {
		s.PID = c.Task.PID
	}
	if c.Task.Status == state.TaskStopped {
		s.ExitCode, s.ExitedAt = &c.Task.ExitCode, &c.Task.ExitedAt
	}
}

// WithUnmade adds to the statuses of a host the workspaces that agents of it are to
// make and have not made yet.
func WithUnmade(all []Status, host string, agents ...state.Agent) []Status {
	at := make(map[string]int, len(all))
	for i, s := range all {
		at[s.Workspace] = i
	}
	for _, a := range agents {
		if a.Host != host {
			continue
		}
		for _, u := range a.Unmade {
			i, known := at[u.Workspace]
			if !known {
				i, at[u.Workspace] = len(all), len(all)
				all = append(all, Status{Workspace: u.Workspace, Host: host})
			}
			all[i].addUnmade(a.Set, u)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Workspace, b.Workspace) })
	return all
}

// addUnmade adds why a workspace has no container, if it has none and nothing else
// says why.
func (s *Status) addUnmade(set string, u state.Unmade) {
	if s.State != "" && s.State != StateNew && s.State != StateDeleted && s.State != StateMissing {
		return
	}
	s.State, s.Reason, s.NextRetry = StateWaiting, u.Why, u.Until
	if u.Blocked {
		s.State = StateBlocked
	}
	s.Set, s.Image = cmp.Or(s.Set, set), cmp.Or(u.Image, s.Image)
}

// Of is the status with what the agents of its host know: the number of restarts,
// and the time of the next retry.
func (s Status) Of(agents ...state.Agent) Status {
	for _, a := range agents {
		if a.Host != s.Host {
			continue
		}
		s.Restarts = max(s.Restarts, a.Restarts[s.Workspace])
		for _, w := range a.Waiting {
			if w.Workspace == s.Workspace {
				s.Restarts, s.NextRetry = w.Attempts, &w.Until
			}
		}
	}
	return s
}

// Up is the status with the time when its process was started. started returns
// that time for a process, zero when it is unknown; it may be nil.
func (s Status) Up(started func(pid uint32) time.Time) Status {
	if started == nil || !s.Running {
		return s
	}
	if since := started(s.PID); !since.IsZero() {
		s.UpSince = &since
	}
	return s
}
