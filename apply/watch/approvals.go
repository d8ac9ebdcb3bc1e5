package watch

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
)

// approvals is which changes the agent does not make without a user: those that
// delete data, and deletions that would take most of a set away.
type approvals struct {
	command   string               // of a user who approves: it applies what is watched
	deletions map[string]bool      // workspaces whose deletion needs approval
	deleted   map[string]time.Time // by workspace: when the agent deleted it, within steadyAfter, since files may be removed one by one
	restored  string               // the set whose approvals were restored from the store; "" before
}

func newApprovals(paths []string) approvals {
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = shellWord(path)
	}
	return approvals{command: "carrel apply " + strings.Join(quoted, " "), deletions: map[string]bool{}, deleted: map[string]time.Time{}}
}

// plainWord is a path that a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellWord is a path as a user can paste it into a shell.
func shellWord(path string) string {
	if plainWord.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// review finds out which deletions of a new plan need approval. A deletion that
// once needed it keeps needing it, whatever is added to or removed from the set,
// until it is not wanted any more: a user has made it, or the specs describe the
// workspace again. A plan says nothing about busy workspaces: theirs stay.
func (a *approvals) review(p plan.Plan, busy map[string]bool, now time.Time) {
	wanted := p.Deletes()
	maps.DeleteFunc(a.deleted, func(name string, at time.Time) bool {
		return now.Sub(at) >= steadyAfter || slices.Contains(wanted, name) // it had returned
	})
	maps.DeleteFunc(a.deletions, func(name string, _ bool) bool { return !busy[name] && !slices.Contains(wanted, name) })
	if !a.massDelete(p) {
		return
	}
	for _, name := range wanted {
		a.deletions[name] = true
	}
}

// massDelete reports whether a plan, together with the recent deletions, deletes
// at least three workspaces and more than half of the set.
func (a *approvals) massDelete(p plan.Plan) bool {
	n := len(p.Deletes()) + len(a.deleted)
	return len(p.Deletes()) > 0 && n >= 3 && 2*n > p.Owned+len(a.deleted)
}

// restore takes over the deletions that needed approval when the last agent of
// the set reported. Changes that were rolled back are not taken over: each agent
// tries them once, since the end of the last agent may have made them fail.
func (a *approvals) restore(set string, last []state.Pending) {
	a.restored = set
	for _, p := range last {
		if p.Action == string(decide.ActionDelete) || p.Action == string(decide.ActionRemoveRecord) {
			a.deletions[p.Workspace] = true
		}
	}
}

// why is why a change needs approval; "" when it does not.
func (a *approvals) why(c plan.Change) string {
	switch {
	case c.Cost == decide.CostDataAtRisk:
		return fmt.Sprintf("it deletes data (to approve it: %s --allow-data-loss)", a.command)
	case c.Deletes() && a.deletions[c.Workspace]:
		return fmt.Sprintf("more than half of the set would be deleted (check the specs; to approve it: %s --allow-mass-delete)", a.command)
	}
	return ""
}
