package state

import (
	"slices"
	"time"

	"carrel/spec"
)

// Agent is what the agent (carrel watch) of one set on one host reports about
// itself to the store. Lists are sorted by workspace, or by position.
type Agent struct {
	Host      string    `json:"host"`
	Boot      string    `json:"boot,omitempty"` // id of the kernel's boot, which tells machines of one name apart; "" when unknown
	Set       string    `json:"set"`
	Version   string    `json:"version"` // of the program
	Paths     []string  `json:"paths"`   // watched, absolute
	StartedAt time.Time `json:"startedAt"`
	SeenAt    time.Time `json:"seenAt"`   // when it reported this
	SyncedAt  time.Time `json:"syncedAt"` // when it last compared the specs with the host; zero before the first time

	// Trouble is why the agent cannot observe or change the host now, in one
	// line; "" when it can. It is Stopped once the agent has ended.
	Trouble string `json:"trouble,omitempty"`

	Working  []string       `json:"working"` // workspaces that are being changed, by name, and images that are being pulled, as "image NAME"
	Pending  []Pending      `json:"pending"`
	Waiting  []Waiting      `json:"waiting"`
	Unmade   []Unmade       `json:"unmade,omitempty"`
	Restarts map[string]int `json:"restarts,omitempty"` // by workspace: how often it was started in a row, of those that were
	Errors   []SpecError    `json:"errors"`
	Notes    []string       `json:"notes"` // of the last plan
}

// Stopped is the Trouble of an agent that has ended.
const Stopped = "it was stopped"

// Pending is a change that needs approval: the agent does not make it alone.
type Pending struct {
	Workspace string `json:"workspace"`
	Action    string `json:"action"` // a decide.Action
	Why       string `json:"why"`    // it needs approval, and what to do
}

// Group is changes that need approval for one reason.
type Group struct {
	Workspaces []string
	Action     string
	Why        string
}

// Names are the workspaces as a message has them.
func (g Group) Names() string { return spec.Names(g.Workspaces) }

// Grouped are changes by why they need approval, in the order of the first ones.
func Grouped(all []Pending) (groups []Group) {
	for _, p := range all {
		i := slices.IndexFunc(groups, func(g Group) bool { return g.Action == p.Action && g.Why == p.Why })
		if i < 0 {
			groups = append(groups, Group{Action: p.Action, Why: p.Why})
			i = len(groups) - 1
		}
		groups[i].Workspaces = append(groups[i].Workspaces, p.Workspace)
	}
	return groups
}

// Waiting is a change, or the pull of an image, that the agent retries later:
// it failed, or was needed too often.
type Waiting struct {
	Workspace string    `json:"workspace,omitempty"` // "" of an image
	Image     string    `json:"image,omitempty"`     // "" of a workspace
	Why       string    `json:"why"`
	Attempts  int       `json:"attempts"` // so far, in a row
	Until     time.Time `json:"until"`    // the next one
}

// Unmade is a workspace that a spec describes and that has no container, or may have
// none: one whose spec has an error may run as it was applied before.
type Unmade struct {
	Workspace string     `json:"workspace"`
	Image     string     `json:"image,omitempty"` // "" when it is not known
	Blocked   bool       `json:"blocked"`         // its spec, or what that asks of the host, has an error
	Why       string     `json:"why"`
	Until     *time.Time `json:"until,omitempty"` // the next attempt; nil when none has failed
}

// SpecError is why a spec, or a part of it, is not applied.
type SpecError struct {
	Position string    `json:"position"` // file:line:col; "" when no file has the error
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

// Recent is a change that the agent carried out.
type Recent struct {
	Time      time.Time     `json:"time"` // of its end
	Workspace string        `json:"workspace"`
	Action    string        `json:"action"` // a decide.Action
	Reason    string        `json:"reason"`
	Duration  time.Duration `json:"duration"` // nanoseconds
	Error     string        `json:"error,omitempty"`
}
