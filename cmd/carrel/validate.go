package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"carrel/plan/report"
	"carrel/schema"
	"carrel/spec/policy"
)

// defaultPolicy is the policy file of a host that has one.
const defaultPolicy = "/etc/carrel/policy.yaml"

// policyFile is the file of the policy that specs are checked against. The usual
// file may be missing; a file that the user names must exist.
type policyFile struct {
	path  string
	named func() bool // whether the user named a file
}

func policyFlag(cmd *cobra.Command, usual string) *policyFile {
	p := &policyFile{named: func() bool { return cmd.Flags().Changed("policy") }}
	cmd.Flags().StringVar(&p.path, "policy", usual, "file that limits what workspaces of this host may use; without a policy everything is allowed")
	return p
}

func (p *policyFile) read() (policy.Policy, error) {
	switch {
	case p.path == "" && p.named():
		return policy.Policy{}, errors.New("--policy is empty (name a file, or leave the flag out)")
	case p.path == "":
		return policy.Policy{}, nil
	}
	allowed, err := policy.Load(p.path)
	if errors.Is(err, fs.ErrNotExist) && !p.named() {
		return policy.Policy{}, nil
	}
	return allowed, err
}

func validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check specs for errors; this needs neither containerd nor a store",
		Long:  "Check specs and print all errors of all files as file:line:col. PATH is a file, a folder, or - for standard input.",
	}
	rules, output := policyFlag(cmd, ""), outputFlag(cmd, "text", "json", "github")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		if err := oneOf("output", *output, "text", "json", "github"); err != nil {
			return err
		}
		allowed, err := rules.read()
		if err != nil {
			return err
		}
		host := "" // with --host, only the specs of that host are checked against the policy
		if cmd.Flags().Changed("host") {
			host = cmd.Flag("host").Value.String()
		}
		want, err := allowed.LoadSpecs(host, paths...)
		if err != nil {
			return err
		}
		if *output == "json" {
			return asJSON(cmd.OutOrStdout(), report.OfErrors(nil))
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in set %s: no errors\n", count(len(want.Workspaces), "workspace"), want.Name)
		return err
	}
	return cmd
}

func schemaCommand() *cobra.Command {
	texts := map[string][]byte{
		"workspace": schema.Workspace, "policy": schema.Policy,
		"plan": schema.Plan, "fleet": schema.Fleet, "events": schema.Events, "errors": schema.Errors,
	}
	return &cobra.Command{
		Use:       "schema [workspace|policy|plan|fleet|events|errors]",
		Short:     "Print the JSON Schema of specs, of policies, or of what carrel prints as JSON",
		Long:      "Print a JSON Schema: of specs (workspace), of policies, of plans of one host (plan) or of all hosts (fleet), of the lines that apply -o json prints (events), or of errors.",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"workspace", "policy", "plan", "fleet", "events", "errors"},
		RunE: func(cmd *cobra.Command, which []string) error {
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
