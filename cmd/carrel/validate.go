package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"carrel/schema"
	"carrel/spec"
)

// defaultPolicy is the policy file of a host that has one.
const defaultPolicy = "/etc/carrel/policy.yaml"

// policyFlag is the file of a policy that specs must keep to.
func policyFlag(cmd *cobra.Command, otherwise string) *string {
	return cmd.Flags().String("policy", otherwise, "file that says what workspaces of this host may have; without it, everything")
}

// permitted says what in the specs the policy does not allow. The usual file
// need not be there.
func permitted(path string, workspaces []spec.Workspace) error {
	if path == "" {
		return nil
	}
	policy, err := spec.LoadPolicy(path)
	if path == defaultPolicy && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return policy.Check(workspaces)
}

func validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check specs; needs no containerd and no store",
		Long:  "Check specs and print every fault of every file as file:line:col. PATH is a file, a folder, or - for standard input.",
	}
	policy := policyFlag(cmd, "")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		want, err := spec.Load(paths...)
		if err == nil {
			err = permitted(*policy, want.Workspaces)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in set %s: no faults\n", count(len(want.Workspaces), "workspace"), want.Name)
		return err
	}
	return cmd
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [workspace|policy|plan]",
		Short:     "Print the JSON Schema of specs, of policies, or of plans in JSON",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"workspace", "policy", "plan"},
		RunE: func(cmd *cobra.Command, which []string) error {
			texts := map[string][]byte{"workspace": schema.Workspace, "policy": schema.Policy, "plan": schema.Plan}
			_, err := cmd.OutOrStdout().Write(texts[append(which, "workspace")[0]])
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
