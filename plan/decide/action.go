package decide

import "slices"

// Action is what a change does to a workspace.
type Action string

// The actions.
const (
	ActionCreate       Action = "create"
	ActionAdopt        Action = "adopt"
	ActionUpdate       Action = "update"
	ActionStart        Action = "start"
	ActionStop         Action = "stop"
	ActionRestart      Action = "restart"
	ActionReplace      Action = "replace"
	ActionRename       Action = "rename" // it becomes another workspace, with its data
	ActionDelete       Action = "delete"
	ActionRemoveRecord Action = "remove record"
	ActionRepair       Action = "repair"
	ActionSwap         Action = "swap data"
	ActionDiscard      Action = "discard data" // that was preserved
	ActionClean        Action = "clean"        // what an earlier run left of a workspace

	ActionRollback Action = "rollback" // never planned by New
)

// Actions are those that plans have, in the order in which they are summed up.
var Actions = []Action{
	ActionCreate, ActionAdopt, ActionUpdate, ActionStart, ActionStop, ActionRestart,
	ActionReplace, ActionRename, ActionRepair, ActionSwap, ActionDelete, ActionRemoveRecord, ActionDiscard, ActionClean,
}

// Cost is what a change does to what runs now.
type Cost string

// The cost classes.
const (
	CostNone       Cost = "none"         // nothing that exists is disturbed
	CostInPlace    Cost = "in place"     // changed while it runs
	CostRestart    Cost = "restart"      // the process ends; the container and the data stay
	CostReplace    Cost = "replace"      // a new container; the data stays
	CostRemoval    Cost = "removal"      // the container goes; the data is preserved
	CostDataAtRisk Cost = "data at risk" // data is deleted
)

var costs = []Cost{CostNone, CostInPlace, CostRestart, CostReplace, CostRemoval, CostDataAtRisk}

// costlier is the higher of two costs.
func costlier(a, b Cost) Cost {
	return costs[max(slices.Index(costs, a), slices.Index(costs, b))]
}
