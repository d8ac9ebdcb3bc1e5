package watch

// This file answers one question: why does a workspace wait? The function
// blocker goes through all reasons in order, and the first that holds is the
// answer. Nothing else delays or refuses a change that a plan has.
//
// Two cases have no change that could wait. While the agent itself is blocked (the
// host cannot be observed, or another run has the lock: observationFailed in
// sync.go), there is no plan at all. A workspace whose own spec has an error stays
// as it is (plan.Around), and the report lists the error.
//
// While a workspace waits, it keeps running as it was applied last: keeprunning.go.

import (
	"fmt"
	"strings"
	"time"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

// reason is a reason why a change is not made now.
type reason string

const (
	notBlocked    reason = ""
	needsApproval reason = "needs approval"      // until a user makes the change, or it is not wanted any more
	fileHasError  reason = "its file has errors" // until the file has none
	rolledBack    reason = "rolled back"         // until the spec changes, or a user applies it
	specsChanging reason = "specs are changing"  // for at most settleLimit, then the files are read
	backingOff    reason = "backoff"             // until the time of its next attempt
	imageMissing  reason = "image is missing"    // until the image is pulled, which has a backoff of its own
	beingChanged  reason = "being changed"       // until the change that runs has ended
)

// blocker is the reason why a change is not made now, with what a user reads
// about it where it is not obvious.
type blocker struct {
	reason reason
	text   string
}

// blocker answers why a change of a workspace is not made now. It changes nothing.
func (b *backlog) blocker(c plan.Change, s situation) blocker {
	if why := b.approvals.why(c); why != "" {
		return blocker{needsApproval, why}
	}
	if file := s.invalidFile(c); file != "" {
		return blocker{fileHasError, fmt.Sprintf("its spec file %s has an error (fix that first)", file)}
	}
	if r := b.changes[c.Workspace]; r.rolledBack && r.key == c.Key() {
		return blocker{rolledBack, fmt.Sprintf("it failed and was rolled back: %s (fix the spec, or retry with %s)", r.err, b.approvals.command)}
	}
	if s.specsChanging && !restarts(c) {
		return blocker{reason: specsChanging}
	}
	if r := b.needed(c, s.now); s.now.Before(r.at) {
		return blocker{backingOff, r.why(c)}
	}
	if len(c.Pulls()) > 0 {
		return blocker{reason: imageMissing}
	}
	if s.busy[c.Workspace] { // no plan has changes of busy workspaces; two changes of one must never run at once
		return blocker{reason: beingChanged}
	}
	return blocker{}
}

// why is why the next attempt at a change has to wait.
func (r retry) why(c plan.Change) string {
	reasons := strings.Join(c.Reasons, "; ")
	switch {
	case r.err != "":
		return r.err
	case r.restart:
		return "crash loop: " + reasons
	}
	return "needed again soon after it was done: " + reasons
}

// situation is what the reasons depend on, apart from the backlog.
type situation struct {
	now           time.Time
	busy          map[string]bool   // workspaces that were being changed when the host was observed: what was observed of them may be half of the change
	specsChanging bool              // files changed and were not read yet: what they said before may be what a user has just undone
	invalidFiles  map[string]bool   // spec files with an error that only this host has: they may be half of what they should be
	describedBy   map[string]string // by workspace: the file that described it when it was applied last
}

func newSituation(desired spec.Set, observed state.State, hostErrors spec.Errors, busy map[string]bool, specsChanging bool, now time.Time) situation {
	s := situation{now: now, busy: busy, specsChanging: specsChanging, invalidFiles: map[string]bool{}, describedBy: map[string]string{}}
	invalid := map[string]bool{} // workspaces: several may have one error
	for _, e := range hostErrors {
		s.invalidFiles[e.Pos.File] = true
		for _, name := range e.Workspaces {
			invalid[name] = true
		}
	}
	for _, w := range desired.Workspaces {
		if invalid[w.Name] {
			s.invalidFiles[w.Source] = true
		}
	}
	for _, r := range observed.Records {
		s.describedBy[r.Workspace] = r.Source
	}
	return s
}

// invalidFile is the file with an error that describes, or described, the
// workspace of a change; "" when there is none, or when the change neither
// replaces nor deletes what runs.
func (s situation) invalidFile(c plan.Change) string {
	if !c.Deletes() && c.Cost != decide.CostReplace {
		return ""
	}
	for _, file := range []string{c.Source(), s.describedBy[c.Workspace], s.describedBy[c.RenamedFrom]} {
		if file != "" && s.invalidFiles[file] {
			return file
		}
	}
	return ""
}

// restarts reports whether a change only starts or restarts the process.
func restarts(c plan.Change) bool {
	return c.Action == decide.ActionStart || c.Action == decide.ActionRestart
}
