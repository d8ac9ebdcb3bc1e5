package report_test

import (
	"testing"
	"time"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/report"
	"carrel/spec"
)

// TestEffect checks what a plan says about each class of cost to the people who
// use the workspace.
func TestEffect(t *testing.T) {
	stop := plan.StopTask{Container: "bot", GracePeriod: spec.Duration(30 * time.Second)}
	start, remove, preserve := plan.StartTask{Workspace: "bot"}, plan.DeleteContainer{Container: "bot"}, plan.PreserveData{Workspace: "bot"}
	forget, discard := plan.DeleteRecord{Workspace: "bot"}, plan.DiscardData{Workspace: "bot"}
	running, stopped := &plan.Previous{Running: true}, &plan.Previous{}
	for _, test := range []struct {
		name   string
		change plan.Change
		want   string
	}{
		{"create", plan.Change{Action: decide.ActionCreate, Cost: decide.CostNone, Steps: []plan.Step{start}}, ""},
		{"update", plan.Change{Action: decide.ActionUpdate, Cost: decide.CostInPlace}, "in place, no restart"},
		{"restart", plan.Change{Action: decide.ActionRestart, Cost: decide.CostRestart, Steps: []plan.Step{stop, start}}, "restarts; up to 30s down"},
		{"restart of what does not run", plan.Change{Action: decide.ActionRestart, Cost: decide.CostRestart, Steps: []plan.Step{start}}, ""},
		{"stop", plan.Change{Action: decide.ActionStop, Cost: decide.CostRestart, Steps: []plan.Step{stop}}, "ends within 30s"},
		{"replace", plan.Change{Action: decide.ActionReplace, Cost: decide.CostReplace, Previous: running, Steps: []plan.Step{stop, remove, start}},
			"restarts; up to 30s down; data kept"},
		{"replace what does not run", plan.Change{Action: decide.ActionReplace, Cost: decide.CostReplace, Previous: stopped, Steps: []plan.Step{stop, remove, start}}, "data kept"},
		{"replace and move the data", plan.Change{Action: decide.ActionReplace, Cost: decide.CostReplace, Previous: running, Steps: []plan.Step{stop, plan.MigrateData{}, remove, start}},
			"restarts; down up to 30s and while its data is copied; data kept"},
		{"replace with data loss", plan.Change{Action: decide.ActionReplace, Cost: decide.CostDataAtRisk, Previous: running, Steps: []plan.Step{stop, discard, remove, start}},
			"restarts; up to 30s down; DATA IS DELETED PERMANENTLY"},
		{"delete", plan.Change{Action: decide.ActionDelete, Cost: decide.CostRemoval, Previous: running, Steps: []plan.Step{stop, preserve, remove, forget}}, "deleted; data preserved"},
		{"delete without data", plan.Change{Action: decide.ActionDelete, Cost: decide.CostRemoval, Previous: running, Steps: []plan.Step{stop, remove, forget}}, "deleted"},
		{"delete with data loss", plan.Change{Action: decide.ActionDelete, Cost: decide.CostDataAtRisk, Previous: running, Steps: []plan.Step{stop, discard, remove, forget}},
			"DATA IS DELETED PERMANENTLY"},
		{"only a record", plan.Change{Action: decide.ActionRemoveRecord, Cost: decide.CostRemoval, Steps: []plan.Step{forget}}, "record removed"},
		{"a record, and data", plan.Change{Action: decide.ActionRemoveRecord, Cost: decide.CostRemoval, Steps: []plan.Step{preserve, forget}}, "record removed; data preserved"},
		{"preserved data", plan.Change{Action: decide.ActionDiscard, Cost: decide.CostDataAtRisk, Steps: []plan.Step{plan.DiscardPreserved{}}}, "DATA IS DELETED PERMANENTLY"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := report.OfPlan(plan.Plan{Changes: []plan.Change{test.change}})
			if got := v.Changes[0].Effect; got != test.want {
				t.Errorf("effect %q, want %q", got, test.want)
			}
		})
	}
}
