package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"carrel/plan/report"
	"carrel/spec"
)

// inOutput is an error that the output of a command has already, in the format
// that the user chose.
type inOutput struct{ error }

func (e inOutput) Unwrap() error { return e.error }

// printErrors prints why a command failed: lines for people, and the format that
// the user chose for programs.
func printErrors(cmd *cobra.Command, err error) error {
	var printed inOutput
	format, all := formatOf(cmd), errorsOf(err)
	switch {
	case errors.As(err, &printed):
	case format == "json" && cmd.Annotations[streams] != "":
		if err := printLine(cmd.OutOrStdout(), errorsLine{Type: "errors", Errors: report.OfErrors(all)}); err != nil {
			return err
		}
	case format == "json":
		if err := asJSON(cmd.OutOrStdout(), report.OfErrors(all)); err != nil {
			return err
		}
	case format == "yaml":
		if err := asYAML(cmd.OutOrStdout(), report.OfErrors(all)); err != nil {
			return err
		}
	case format == "github":
		for _, e := range all {
			if _, err := fmt.Fprint(cmd.OutOrStdout(), e.Annotation(inRepository(e.File))); err != nil {
				return err
			}
		}
		return nil // the log of the job shows them as lines
	}
	for _, line := range lines(err) {
		fmt.Fprintln(cmd.ErrOrStderr(), line)
	}
	return nil
}

// errorsOf is the JSON form of the errors that are joined in one.
func errorsOf(err error) (all []report.Error) {
	for _, one := range joined(err) {
		var inSpecs spec.Errors
		var same *sameError
		switch {
		case errors.As(one, &inSpecs):
			for _, e := range inSpecs {
				all = append(all, report.OfSpecError(e))
			}
		case errors.As(one, &same):
			all = append(all, report.Error{Workspaces: same.workspaces, Message: same.cause})
		default:
			all = append(all, report.Error{Message: one.Error()})
		}
	}
	return all
}

// inRepository is a file as GitHub Actions names it: below the root of the
// repository that the job checked out.
func inRepository(file string) string {
	root := os.Getenv("GITHUB_WORKSPACE")
	absolute, err := filepath.Abs(file)
	if root == "" || file == "" || err != nil {
		return file
	}
	below, err := filepath.Rel(root, absolute)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return file
	}
	return below
}
