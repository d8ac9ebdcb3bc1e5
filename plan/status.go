package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Status is one workspace of a host as it is now: its record and its live
// state, joined.
type Status struct {
	Workspace string      `json:"workspace"`
	Set       string      `json:"set"`
	Host      string      `json:"host"`
	State     string      `json:"state"` // running, stopped, held, missing, new, failed, orphan, deleted, or a task's own word
	Running   bool        `json:"running"`
	PID       uint32      `json:"pid,omitempty"`
	UpSince   *time.Time  `json:"upSince,omitempty"`
	ExitCode  *uint32     `json:"exitCode,omitempty"`
	ExitedAt  *time.Time  `json:"exitedAt,omitempty"`
	OOMKills  uint64      `json:"oomKills,omitempty"` // of the task, for want of memory
	Container string      `json:"container,omitempty"`
	Image     string      `json:"image,omitempty"`
	Digest    string      `json:"digest,omitempty"`
	Address   string      `json:"address,omitempty"`
	Volume    string      `json:"volume,omitempty"`
	Preserved []time.Time `json:"preserved,omitempty"` // oldest first
	Held      bool        `json:"held"`
	LastError string      `json:"lastError,omitempty"`
	Restarts  int         `json:"restarts,omitempty"` // by an agent, in a row
	NextTry   *time.Time  `json:"nextTry,omitempty"`  // of an agent that waits
	UpdatedAt *time.Time  `json:"updatedAt,omitempty"`
}

// Statuses are the workspaces of the observed host: all that have a record, a
// container of ours, or preserved data, by name.
func Statuses(now State) []Status {
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
	for _, c := range now.Containers {
		if c.Workspace != "" && c.Host == now.Host {
			of(c.Workspace).addContainer(c)
		}
	}
	for _, v := range now.Volumes {
		if s := byName[v.Workspace]; s != nil {
			s.Volume = v.Path
		}
	}
	for _, a := range now.Networks {
		if s := byName[a.Workspace]; s != nil {
			s.Address = strings.Join(a.Addresses, ", ")
		}
	}
	for _, v := range now.Preserved {
		s := of(v.Workspace)
		s.State = cmp.Or(s.State, "deleted")
		s.Preserved = append(s.Preserved, v.At)
	}
	all := make([]Status, 0, len(byName))
	for _, s := range byName {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Workspace, b.Workspace) })
	return all
}

func (s *Status) addRecord(r Record) {
	s.Set, s.Container, s.Held, s.LastError = r.Set, r.Container, r.Held, r.LastError
	s.State, s.UpdatedAt = "missing", &r.UpdatedAt
	switch {
	case r.Container == "" && r.LastError == "":
		s.State = "new" // it is claimed, and not made yet
	case r.Container == "":
		s.State = "failed"
	}
	if r.Applied != nil {
		s.Image = r.Applied.Image
		if r.Applied.Network.Mode == "host" {
			s.Address = "host"
		}
	}
}

func (s *Status) addContainer(c Container) {
	if s.UpdatedAt == nil {
		s.Set, s.State, s.Container = c.Set, "orphan", c.ID
	} else if s.Container != c.ID {
		return // another one that carries the name: plans tell of it
	} else {
		s.State = string(cmp.Or(c.Task.Status, TaskStopped))
		if s.Held && !c.Task.Alive() {
			s.State = "held"
		}
	}
	s.Digest, s.Running, s.OOMKills = c.Digest, c.Task.Alive(), c.Task.OOMKills
	if c.Applied != nil {
		s.Image = c.Applied.Image
	}
	if s.Running {
		s.PID = c.Task.PID
	}
	if c.Task.Status == TaskStopped {
		s.ExitCode, s.ExitedAt = &c.Task.ExitCode, &c.Task.ExitedAt
	}
}
