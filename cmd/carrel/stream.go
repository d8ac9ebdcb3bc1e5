package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"carrel/apply"
	"carrel/plan"
	"carrel/plan/report"
)

// This file has the lines of JSON that commands print which change something;
// schema/events.schema.json describes them.

// The annotations of commands that have the flag -o with formats.
const (
	hasFormats = "formats"
	streams    = "streams" // lines of JSON, and not one document
)

// formatOf is the output format of a command; "" when it has none.
func formatOf(cmd *cobra.Command) string {
	if cmd.Annotations[hasFormats] == "" {
		return ""
	}
	return cmd.Flag("output").Value.String()
}

// printLine prints a line of JSON.
func printLine(out io.Writer, line any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(line)
}

// planLine is a plan.
type planLine struct {
	Type    string      `json:"type"`
	Version int         `json:"version"`
	Plan    string      `json:"plan"` // its id
	Content report.Plan `json:"content"`
}

func lineOfPlan(p plan.Plan) planLine {
	return planLine{Type: "plan", Version: report.Version, Plan: p.ID(), Content: report.OfPlan(p)}
}

// eventLine is an event.
type eventLine struct {
	Type      string    `json:"type"`
	Version   int       `json:"version"`
	Time      time.Time `json:"time"`
	Workspace string    `json:"workspace"`
	Step      string    `json:"step"`
	Text      string    `json:"text"`
	Seconds   float64   `json:"seconds,omitempty"`
	Error     string    `json:"error,omitempty"`
	Layer     string    `json:"layer,omitempty"`
	Bytes     int64     `json:"bytes,omitempty"`
	Total     int64     `json:"total,omitempty"`
}

func lineOfEvent(e apply.Event) eventLine {
	line := eventLine{
		Type: string(e.Kind), Version: report.Version, Time: e.Time.UTC(), Workspace: e.Workspace, Step: plan.StepName(e.Step), Text: e.Step.String(),
		Seconds: e.Took.Seconds(), Layer: e.Layer, Bytes: e.Bytes, Total: e.Total,
	}
	if e.Err != nil {
		line.Error = e.Err.Error()
	}
	return line
}

// resultLine is the result of a plan.
type resultLine struct {
	Type     string  `json:"type"`
	Version  int     `json:"version"`
	Plan     string  `json:"plan"` // its id
	Applied  int     `json:"applied"`
	Failed   int     `json:"failed"`
	NotBegun int     `json:"notBegun"`
	Seconds  float64 `json:"seconds"`
}

// errorsLine is why a command failed.
type errorsLine struct {
	Type string `json:"type"`
	report.Errors
}
