// Package plan decides what to do: it compares what the specs want with what
// exists, and says which steps lead from one to the other, and why.
//
// It is pure: values in, values out. It reads nothing, asks nothing, and does
// not know the time.
package plan

// Action is what a change does to a workspace.
type Action string

// The actions.
const (
	ActionNone    Action = "none"
	ActionCreate  Action = "create"
	ActionAdopt   Action = "adopt"
	ActionUpdate  Action = "update"
	ActionStart   Action = "start"
	ActionStop    Action = "stop"
	ActionReplace Action = "replace"
	ActionDelete  Action = "delete"
	ActionForget  Action = "forget"
)
