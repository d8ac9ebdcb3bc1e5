package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Markdown is the plan for a comment on a change request.
func (v Plan) Markdown() string {
	var b strings.Builder
	for _, warning := range v.Warnings {
		fmt.Fprintf(&b, "> **Warning:** %s\n\n", warning)
	}
	fmt.Fprintf(&b, "**%s**\n", v.Summary)
	if len(v.Changes) > 0 {
		v.table(&b)
		v.steps(&b)
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "\n- %s\n", note)
	}
	return b.String()
}

func (v Plan) table(b *strings.Builder) {
	b.WriteString("\n| workspace | action | effect | why |\n|---|---|---|---|\n")
	for _, c := range v.Changes {
		why := slices.Clone(c.Reasons)
		for _, f := range c.Fields {
			why = append(why, "`"+f.String()+"`")
		}
		for _, lost := range c.Lost.lines() {
			why = append(why, "lost: "+lost)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", c.Workspace, c.Action, c.Effect, cell(strings.Join(why, "; ")))
	}
}

func (v Plan) steps(b *strings.Builder) {
	b.WriteString("\n<details><summary>Steps</summary>\n\n```\n")
	for _, c := range v.Changes {
		for i, s := range c.Steps {
			fmt.Fprintf(b, "%s: %d. %s\n", c.Workspace, i+1, s.Text)
		}
	}
	fmt.Fprintf(b, "```\n\n</details>\n\nplan `%s`\n", v.ID)
}

// cell escapes a text for a cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text)
}

// Markdown is the plan for a comment on a change request.
func (v FleetPlan) Markdown() string {
	var b strings.Builder
	for _, h := range v.Hosts {
		fmt.Fprintf(&b, "### Host %s\n\nAs observed at %s (%s ago).\n\n%s\n", h.Host, h.ObservedAt.Format(time.RFC3339), h.age, h.Plan.Markdown())
		for _, text := range h.Errors {
			fmt.Fprintf(&b, "- **Error:** %s\n", text)
		}
	}
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "\n- %s\n", note)
	}
	return b.String()
}
