package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"carrel/spec"
)

// Version is the version of a plan's JSON form, schema/plan.schema.json.
const Version = 1

// View is a plan as it is said: its JSON form. Text and Markdown are made from
// it and from nothing else, so that they cannot differ.
type View struct {
	Version   int          `json:"version"`
	ID        string       `json:"id"`
	Set       string       `json:"set"`
	Host      string       `json:"host"`
	Summary   string       `json:"summary"`
	Warnings  []string     `json:"warnings"`
	Changes   []ChangeView `json:"changes"`
	Unchanged int          `json:"unchanged"`
	Elsewhere int          `json:"elsewhere"`
	Notes     []string     `json:"notes"`
}

// ChangeView is one change as it is said.
type ChangeView struct {
	Workspace string     `json:"workspace"`
	Action    Action     `json:"action"`
	Cost      Cost       `json:"cost"`
	Reasons   []string   `json:"reasons"`
	Fields    []Field    `json:"fields"`
	Steps     []StepView `json:"steps"`
}

// StepView is one step as it is said.
type StepView struct {
	Step string `json:"step"` // its kind
	Text string `json:"text"` // its wording
}

// View is the plan as it is said.
func (p Plan) View() View {
	v := View{
		Version: Version, ID: p.ID(), Set: p.Set, Host: p.Host, Summary: p.summary(),
		Warnings: notNil(p.warnings()), Changes: []ChangeView{},
		Unchanged: p.Unchanged, Elsewhere: p.Elsewhere, Notes: notNil(p.Notes),
	}
	for _, c := range p.Changes {
		v.Changes = append(v.Changes, c.view())
	}
	return v
}

func (c Change) view() ChangeView {
	v := ChangeView{
		Workspace: c.Workspace, Action: c.Action, Cost: c.Cost,
		Reasons: notNil(c.Reasons), Fields: notNil(c.Fields), Steps: []StepView{},
	}
	for _, s := range c.Steps {
		v.Steps = append(v.Steps, StepView{Step: StepName(s), Text: s.String()})
	}
	return v
}

// ID names the plan by its content: the same changes to the same end have the
// same id, whenever and wherever they are planned.
func (p Plan) ID() string {
	type change struct {
		View ChangeView
		Wish *spec.Workspace
	}
	content := struct {
		Set, Host string
		Changes   []change
	}{Set: p.Set, Host: p.Host}
	for _, c := range p.Changes {
		view := c.view()
		view.Reasons = nil // they tell how long ago
		content.Changes = append(content.Changes, change{view, c.wish})
	}
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // strings, numbers and lists of them cannot fail to encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// Print says the plan to a person.
func (p Plan) Print(out io.Writer) error {
	_, err := io.WriteString(out, p.View().Text())
	return err
}

// Text is the plan for a person to read.
func (v View) Text() string {
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

func (c ChangeView) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%3s %s: %s (cost: %s)\n", c.Action.symbol(), c.Workspace, c.Action, c.Cost)
	for _, f := range c.Fields {
		fmt.Fprintf(b, "      %s\n", f)
	}
	for _, reason := range c.Reasons {
		if !slices.ContainsFunc(c.Fields, func(f Field) bool { return reason == f.Path+" changed" }) {
			fmt.Fprintf(b, "      because: %s\n", reason)
		}
	}
	for i, s := range c.Steps {
		fmt.Fprintf(b, "      %d. %s\n", i+1, s.Text)
	}
}

func (a Action) symbol() string {
	switch a {
	case ActionCreate:
		return "+"
	case ActionDelete, ActionForget, ActionDiscard:
		return "-"
	case ActionReplace:
		return "-/+"
	default:
		return "~"
	}
}

// JSON is the plan for programs; schema/plan.schema.json describes it.
func (v View) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

func (p Plan) summary() string {
	where := fmt.Sprintf("set %s on host %s", p.Set, p.Host)
	rest := ""
	if p.Elsewhere > 0 {
		rest = fmt.Sprintf(", %d on other hosts", p.Elsewhere)
	}
	if p.Empty() {
		return fmt.Sprintf("Nothing to do for %s: %d unchanged%s.", where, p.Unchanged, rest)
	}
	var counts []string
	for _, a := range []Action{
		ActionCreate, ActionAdopt, ActionUpdate, ActionStart, ActionStop, ActionRestart,
		ActionReplace, ActionRepair, ActionSwap, ActionDelete, ActionForget, ActionDiscard, ActionClean,
	} {
		n := 0
		for _, c := range p.Changes {
			if c.Action == a {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d to %s", n, a))
		}
	}
	return fmt.Sprintf("Plan for %s: %s, %d unchanged%s.", where, strings.Join(counts, ", "), p.Unchanged, rest)
}

func (p Plan) warnings() []string {
	var lines []string
	if losses := p.Losses(); len(losses) > 0 {
		lines = append(lines, fmt.Sprintf("this deletes data of %s for good (it needs --allow-data-loss)", strings.Join(losses, ", ")))
	}
	if p.MassDelete() {
		lines = append(lines, fmt.Sprintf("this deletes %d of the %d workspaces of set %s (it needs --allow-mass-delete)",
			len(p.Deletes()), p.Owned, p.Set))
	}
	return lines
}

// Since is a length of time in the words of a person, for example "3 minutes".
func Since(d time.Duration) string {
	for _, unit := range []struct {
		name string
		span time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := d / unit.span; n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return "less than a second"
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// IsID reports whether a word has the form of a plan's id.
func IsID(word string) bool {
	sum, err := hex.DecodeString(word)
	return err == nil && len(sum) == 6
}

// Markdown is the plan for a comment on a change request.
func (v View) Markdown() string {
	var b strings.Builder
	for _, warning := range v.Warnings {
		fmt.Fprintf(&b, "> **Warning:** %s\n\n", warning)
	}
	fmt.Fprintf(&b, "**%s**\n", v.Summary)
	if len(v.Changes) > 0 {
		b.WriteString("\n| workspace | action | cost | why |\n|---|---|---|---|\n")
	}
	for _, c := range v.Changes {
		why := slices.Clone(c.Reasons)
		for _, f := range c.Fields {
			why = append(why, "`"+f.String()+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.Workspace, c.Action, c.Cost, cell(strings.Join(why, "; ")))
	}
	if len(v.Changes) > 0 {
		b.WriteString("\n<details><summary>Steps</summary>\n\n```\n")
		for _, c := range v.Changes {
			for i, s := range c.Steps {
				fmt.Fprintf(&b, "%s: %d. %s\n", c.Workspace, i+1, s.Text)
			}
		}
		fmt.Fprintf(&b, "```\n\n</details>\n\nplan `%s`\n", v.ID)
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "\n- %s\n", note)
	}
	return b.String()
}

// cell is text that can stand in a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}
