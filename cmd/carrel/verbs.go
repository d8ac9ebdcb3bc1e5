package main

import (
	"github.com/spf13/cobra"

	"carrel/drivers"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func startCommand(host *drivers.Config) *cobra.Command {
	return verb(host, "start NAME...", "Start workspaces", plan.Start)
}

func stopCommand(host *drivers.Config) *cobra.Command {
	return verb(host, "stop NAME...", "Stop workspaces; they stay stopped until carrel start or a change of their spec", plan.Stop)
}

func restartCommand(host *drivers.Config) *cobra.Command {
	return verb(host, "restart NAME...", "Restart workspaces", plan.Restart)
}

func deleteCommand(host *drivers.Config) *cobra.Command {
	cmd := verb(host, "delete NAME...", "Delete workspaces; their data is preserved, unless their preserveData says otherwise", plan.Delete)
	cmd.SuggestFor = []string{"rm", "remove", "down", "destroy"}
	return cmd
}

// verb is a command that does one thing to the named workspaces. Only a deletion
// asks for approval: the names already say what the user wants.
func verb(host *drivers.Config, use, short string, decide func(state.State, ...string) (plan.Plan, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments(1, many)}
	o := applyFlags(cmd)
	o.anyStore = true
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if cmd.Name() != "delete" {
			o.approve = true
		}
		return change(cmd, *host, *o, spec.Set{}, func(now state.State) (plan.Plan, error) { return decide(now, names...) })
	}
	return cmd
}
