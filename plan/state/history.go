package state

import "time"

// Entry is one line of the history: one step of one change, and its result.
type Entry struct {
	Time      time.Time // when the step began
	Who       string    // the user or agent, as user@host
	Plan      string    // the plan's id
	Workspace string
	Action    string // a decide.Action
	Reason    string // why the change was made
	Step      string // the step's wording
	Duration  time.Duration
	Error     string // "" when the step succeeded; after "warning: ", what it could not do
}

// Failure is a change that did not complete.
type Failure struct {
	Workspace string
	Set       string
	Host      string
	Source    string
	Error     string // one line
}
