package report

import (
	"fmt"
	"strings"

	"carrel/spec"
)

// Errors is the JSON form of why a command failed; schema/errors.schema.json
// describes it.
type Errors struct {
	Version int     `json:"version"`
	Errors  []Error `json:"errors"`
}

// Error is the JSON form of one error.
type Error struct {
	File       string   `json:"file,omitempty"`
	Line       int      `json:"line,omitempty"`
	Column     int      `json:"column,omitempty"`
	Workspaces []string `json:"workspaces,omitempty"`
	Message    string   `json:"message"`
	Hint       string   `json:"hint,omitempty"`
}

// OfErrors is the JSON form of errors.
func OfErrors(all []Error) Errors { return Errors{Version: Version, Errors: notNil(all)} }

// OfSpecError is the JSON form of an error in a spec.
func OfSpecError(e spec.Error) Error {
	return Error{File: e.Pos.File, Line: e.Pos.Line, Column: e.Pos.Col, Workspaces: e.Workspaces, Message: e.Msg, Hint: e.Hint}
}

// Annotation is the error as a workflow command of GitHub Actions. The file is
// relative to the root of the repository.
func (e Error) Annotation(file string) string {
	var place string
	if file != "" {
		place = "file=" + property(file) + ","
	}
	if e.Line > 0 {
		place += fmt.Sprintf("line=%d,col=%d,", e.Line, e.Column)
	}
	text := e.Message
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return Command("error", place+"title=carrel", text)
}

// Command is a workflow command of GitHub Actions, in one line.
func Command(name, properties, text string) string {
	return fmt.Sprintf("::%s %s::%s\n", name, properties, data(text))
}

// data escapes the text of a workflow command, as GitHub's own toolkit does.
func data(text string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}

// property escapes a property of a workflow command.
func property(text string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(text))
}
