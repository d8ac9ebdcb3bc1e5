package plan

import "time"

// Entry is one line of the history: one step of one change, and how it went.
type Entry struct {
	Time      time.Time // when the step began
	Who       string    // the person or agent, as user@host
	Plan      string    // the plan's id
	Workspace string
	Action    Action
	Reason    string // why the change was made
	Step      string // the step's wording
	Duration  time.Duration
	Error     string // "" when the step was done
}

// Failure is a change that did not reach its end.
type Failure struct {
	Workspace string
	Set       string
	Host      string
	Source    string
	Error     string // one line
}
