package apply

import (
	"time"

	"carrel/plan"
)

// Kind is what an event says of its step.
type Kind string

// The kinds of events.
const (
	Began    Kind = "began"
	Progress Kind = "progress" // of an image that is being pulled
	Warned   Kind = "warned"   // of a step that is done, but not all of it
	Done     Kind = "done"
	Failed   Kind = "failed"
)

// Event is something that happens while a plan is carried out.
type Event struct {
	Time      time.Time
	Kind      Kind
	Workspace string
	Step      plan.Step
	Took      time.Duration // of a step that is done or failed
	Err       error         // of a step that failed or warned

	// Of a progress event: a layer of the image and its bytes so far.
	Layer        string
	Bytes, Total int64
}
