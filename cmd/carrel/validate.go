package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"carrel/schema"
	"carrel/spec"
)

func validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check specs; needs no containerd and no store",
		Long:  "Check specs and print every fault of every file as file:line:col. PATH is a file, a folder, or - for standard input.",
		RunE: func(cmd *cobra.Command, paths []string) error {
			want, err := spec.Load(paths...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in set %s: no faults\n", count(len(want.Workspaces), "workspace"), want.Name)
			return err
		},
	}
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [workspace|plan]",
		Short:     "Print the JSON Schema of specs, or of plans in JSON",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"workspace", "plan"},
		RunE: func(cmd *cobra.Command, which []string) error {
			text := schema.Workspace
			if len(which) == 1 && which[0] == "plan" {
				text = schema.Plan
			}
			_, err := cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "carrel %s\n", version)
			return err
		},
	}
}
