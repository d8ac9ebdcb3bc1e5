package report

import (
	"fmt"
	"strings"

	"carrel/plan"
	"carrel/plan/decide"
)

// effect is what a person who uses the workspace will notice of a change, for
// example "restarts; up to 10s down; data kept". It is "" when they notice
// nothing, and when the action says it all, as in a creation.
func effect(c plan.Change) string {
	switch c.Cost {
	case decide.CostInPlace:
		return "in place, no restart"
	case decide.CostRestart:
		return downtime(c)
	case decide.CostReplace:
		return both(downtime(c), "data kept")
	case decide.CostRemoval:
		return removal(c)
	case decide.CostDataAtRisk:
		return both(downtime(c), "DATA IS DELETED PERMANENTLY")
	}
	return ""
}

// downtime is how long the process is gone because of a change. It is "" when
// no process runs before the change, and when the workspace is deleted.
func downtime(c plan.Change) string {
	stop, stops := find[plan.StopTask](c)
	if stopped := c.Previous != nil && !c.Previous.Running; !stops || stopped || c.Deletes() {
		return ""
	}
	if _, starts := find[plan.StartTask](c); !starts {
		return fmt.Sprintf("ends within %s", stop.GracePeriod)
	}
	if _, copies := find[plan.MigrateData](c); copies {
		return fmt.Sprintf("restarts; down up to %s and while its data is copied", stop.GracePeriod)
	}
	return fmt.Sprintf("restarts; up to %s down", stop.GracePeriod)
}

// removal is what a change that keeps the data takes away.
func removal(c plan.Change) string {
	what := "record removed"
	if _, ok := find[plan.DeleteContainer](c); ok {
		what = "deleted"
	}
	if _, ok := find[plan.PreserveData](c); ok {
		return both(what, "data preserved")
	}
	return what
}

// find is the last step of a kind that the change has.
func find[S plan.Step](c plan.Change) (found S, ok bool) {
	for _, step := range c.Steps {
		if s, is := step.(S); is {
			found, ok = s, true
		}
	}
	return found, ok
}

func both(parts ...string) string {
	return strings.TrimPrefix(strings.Join(parts, "; "), "; ")
}
