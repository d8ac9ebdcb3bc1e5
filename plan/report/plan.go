// Package report formats what people and programs read: a plan as text, Markdown
// and JSON, the status of workspaces, the reports of agents, and all hosts of a
// store.
//
// Each format is made from the JSON struct, so that the formats cannot differ. The
// package makes no decisions: it formats values of the packages plan and state.
package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"carrel/plan"
	"carrel/plan/decide"
)

// Version is the version of a plan's JSON form, schema/plan.schema.json.
const Version = 1

// Plan is the JSON form of a plan.
type Plan struct {
	Version   int      `json:"version"`
	ID        string   `json:"id"`
	Set       string   `json:"set"`
	Host      string   `json:"host"`
	Summary   string   `json:"summary"`
	Warnings  []string `json:"warnings"`
	Changes   []Change `json:"changes"`
	Unchanged int      `json:"unchanged"`
	Elsewhere int      `json:"elsewhere"`
	Notes     []string `json:"notes"`
	Stays     []Stay   `json:"stays"`
}

// Stay is a workspace that no spec describes and that is not deleted. Notes say the
// same, in a line for each cause.
type Stay struct {
	Workspace string `json:"workspace"`
	Why       string `json:"why"`
}

// Change is the JSON form of one change.
type Change struct {
	Workspace string         `json:"workspace"`
	Action    decide.Action  `json:"action"`
	Cost      decide.Cost    `json:"cost"`
	Effect    string         `json:"effect"` // what its users will notice; "" when nothing
	Reasons   []string       `json:"reasons"`
	Fields    []decide.Field `json:"fields"`
	Lost      *Lost          `json:"lost,omitempty"` // with the root filesystem of the container
	Steps     []Step         `json:"steps"`
}

// Step is the JSON form of one step.
type Step struct {
	Step string `json:"step"` // its type
	Text string `json:"text"` // its wording
}

// OfPlan is the JSON form of a plan.
func OfPlan(p plan.Plan) Plan {
	v := Plan{
		Version: Version, ID: p.ID(), Set: p.Set, Host: p.Host, Summary: summary(p),
		Warnings: notNil(warnings(p)), Changes: []Change{},
		Unchanged: p.Unchanged, Elsewhere: p.Elsewhere, Notes: notNil(p.Notes), Stays: []Stay{},
	}
	for _, s := range p.Stays {
		v.Stays = append(v.Stays, Stay{s.Workspace, s.Why})
	}
	for _, c := range p.Changes {
		v.Changes = append(v.Changes, ofChange(c))
	}
	return v
}

func ofChange(c plan.Change) Change {
	v := Change{
		Workspace: c.Workspace, Action: c.Action, Cost: c.Cost, Effect: effect(c),
		Reasons: []string{}, Fields: notNil(c.Fields), Lost: ofWritten(c.Lost), Steps: []Step{},
	}
	for _, reason := range c.Reasons {
		if reason == decide.LastApplyFailed {
			reason += ": " + c.LastError
		}
		v.Reasons = append(v.Reasons, reason)
	}
	for _, s := range c.Steps {
		v.Steps = append(v.Steps, Step{Step: plan.StepName(s), Text: s.String()})
	}
	return v
}

// JSON is the plan for programs; schema/plan.schema.json describes it.
func (v Plan) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

// Text is the plan for people.
func (v Plan) Text() string {
	var b strings.Builder
	for _, warning := range v.Warnings {
		fmt.Fprintf(&b, "WARNING: %s\n", warning)
	}
	fmt.Fprintf(&b, "%s\n", v.Summary)
	for _, c := range v.Changes {
		c.text(&b)
	}
	for i, note := range v.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if len(v.Changes) > 0 {
		fmt.Fprintf(&b, "\nplan %s\n", v.ID)
	}
	return b.String()
}

func (c Change) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%3s %s: %s%s\n", symbol(c.Action), c.Workspace, c.Action, parenthesised(c.Effect))
	for _, f := range c.Fields {
		fmt.Fprintf(b, "      %s\n", f)
	}
	for _, reason := range c.Reasons {
		if !slices.ContainsFunc(c.Fields, func(f decide.Field) bool { return reason == f.Reason() }) {
			fmt.Fprintf(b, "      because: %s\n", reason)
		}
	}
	for _, lost := range c.Lost.lines() {
		fmt.Fprintf(b, "      lost: %s\n", lost)
	}
	for i, s := range c.Steps {
		fmt.Fprintf(b, "      %d. %s\n", i+1, s.Text)
	}
}

// parenthesised is a text that follows another one; "" stays so.
func parenthesised(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// symbol is the mark of an action, as in a diff.
func symbol(a decide.Action) string {
	switch a {
	case decide.ActionCreate:
		return "+"
	case decide.ActionDelete, decide.ActionRemoveRecord, decide.ActionDiscard:
		return "-"
	case decide.ActionReplace:
		return "-/+"
	default:
		return "~"
	}
}

func summary(p plan.Plan) string {
	where := "host " + p.Host // of data that no set has
	if p.Set != "" {
		where = fmt.Sprintf("set %s on host %s", p.Set, p.Host)
	}
	rest := ""
	if p.Elsewhere > 0 {
		rest = fmt.Sprintf(", %d on other hosts", p.Elsewhere)
	}
	if p.Empty() {
		return fmt.Sprintf("Nothing to do for %s: %d unchanged%s.", where, p.Unchanged, rest)
	}
	byAction := map[decide.Action]int{}
	for _, c := range p.Changes {
		byAction[c.Action]++
	}
	var counts []string
	for _, a := range decide.Actions {
		if n := byAction[a]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d to %s", n, a))
		}
	}
	return fmt.Sprintf("Plan for %s: %s, %d unchanged%s.", where, strings.Join(counts, ", "), p.Unchanged, rest)
}

func warnings(p plan.Plan) []string {
	var lines []string
	if losses := p.Losses(); len(losses) > 0 {
		lines = append(lines, fmt.Sprintf("this deletes data of %s permanently (it needs --allow-data-loss)", strings.Join(losses, ", ")))
	}
	if discards := p.Discards(); len(discards) > 0 {
		lines = append(lines, fmt.Sprintf("this deletes preserved data of %s permanently", strings.Join(discards, ", ")))
	}
	if p.MassDelete() {
		lines = append(lines, fmt.Sprintf("this deletes %d of the %d workspaces of set %s (it needs --allow-mass-delete)",
			len(p.Deletes()), p.Owned, p.Set))
	}
	return lines
}

// notNil makes nil an empty list, so that the JSON has [] and not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
