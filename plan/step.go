package plan

import (
	"fmt"
	"strings"
	"time"

	"carrel/spec"
)

// Step is one call to one driver: everything carrel can do to the world. Every
// step is safe to repeat, and leaves a mark that the next observation sees.
// Nothing flows between steps: ids are names that the plan chose.
//
// A step is declared in one place (steps_*.go): its fields, its wording, its
// role, and what it does to a World.
//
//sumtype:decl
type Step interface {
	// String is the step's only wording: plan, progress, JSON, log and error
	// all print it.
	String() string

	// Role is what the step is for in its change.
	Role() Role

	// simulate does to a World what a driver does to the host. Its error is
	// that of a driver which refuses.
	simulate(w *World) error
}

// Role is what a step is for in its change. It decides what a failure means.
type Role int

// The roles.
const (
	Prepare Role = iota // fetches something; nothing that runs is touched
	Disturb             // takes something away from what runs: if a later step fails, that has to come back
	Build               // makes what the specs say
	Tidy                // removes what nothing needs; a failure harms nothing that runs
	Record              // writes to the store, with the history of the steps before it; a failure harms nothing that runs
)

// Warning is the error of a step that did its work and could not do all of it. The
// change goes on, and people are told.
type Warning struct{ Text string }

func (w *Warning) Error() string { return w.Text }

// StepName is the step's type, for example "PullImage".
func StepName(s Step) string { return strings.TrimPrefix(fmt.Sprintf("%T", s), "plan.") }

// shortDigest is how much of a digest a person reads.
const shortDigest = 12

// short is an image's name with a digest that is cut to what a person reads.
func short(image string) string {
	name, digest, ok := strings.Cut(image, "@sha256:")
	if !ok || len(digest) <= shortDigest {
		return image
	}
	return name + "@" + digest[:shortDigest]
}

func limits(l spec.Limits) string {
	words := []string{fmt.Sprintf("%d pids", l.Pids)}
	if l.CPU != 0 {
		words = append(words, l.CPU.String()+" cpu")
	}
	if l.Memory != 0 {
		words = append(words, l.Memory.String()+" memory")
	}
	return strings.Join(words, ", ")
}

func moment(at time.Time) string { return at.UTC().Format(time.RFC3339) }
