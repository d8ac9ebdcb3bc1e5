package apply

import (
	"fmt"
	"strconv"
	"strings"

	"carrel/plan"
)

// StepError is a step that failed, and so ended the change of its workspace.
type StepError struct {
	Workspace string
	Step      plan.Step
	Err       error

	index int // of the step in its change
}

func (e *StepError) Error() string { return fmt.Sprintf("%s: %s: %s", e.Workspace, e.Step, e.Err) }

// Unwrap is the reason.
func (e *StepError) Unwrap() error { return e.Err }

// ExitedError is a task that ended as soon as it was started.
type ExitedError struct {
	Workspace string
	Code      uint32
	Output    []string // the last lines that it printed
}

func (e *ExitedError) Error() string {
	return fmt.Sprintf("the task exited %d at once%s (a workspace needs a process that keeps running; see its output in logs/%s.log of the state dir)",
		e.Code, lastOutput(e.Output), e.Workspace)
}

// maxLine is how much of a line of output an error has, in characters.
const maxLine = 160

// lastOutput is output of a program as a part of a line that terminals show safely.
func lastOutput(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	quoted := make([]string, len(lines))
	for i, line := range lines {
		text := []rune(strings.TrimSpace(line))
		if len(text) > maxLine {
			text = append(text[:maxLine], '…')
		}
		quoted[i] = strconv.Quote(string(text))
	}
	return ", and printed last: " + strings.Join(quoted, ", ")
}

// UnrecordedError is a change that was made, and that the store does not know of.
type UnrecordedError struct {
	Action string
	Err    error // why it does not
}

func (e *UnrecordedError) Error() string {
	return fmt.Sprintf("%s; the %s was carried out all the same, and an agent or the next apply may undo it (run the command again when the store can be written)", e.Err, e.Action)
}

// Unwrap is why the store does not know of it.
func (e *UnrecordedError) Unwrap() error { return e.Err }

// RolledBackError is a change that failed after it had disturbed what ran. That
// runs again.
type RolledBackError struct {
	Err error // why it failed
}

func (e *RolledBackError) Error() string {
	return e.Err.Error() + "; the previous spec was brought back"
}

// Unwrap is why it failed.
func (e *RolledBackError) Unwrap() error { return e.Err }

// InterruptedError is a run that was asked to end early.
type InterruptedError struct {
	Left int // changes that were not begun
}

func (e *InterruptedError) Error() string {
	return fmt.Sprintf("interrupted, %d changes were not begun (apply again to go on)", e.Left)
}
