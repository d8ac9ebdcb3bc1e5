package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"carrel/drivers"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/spec"
)

// planFlags are the flags of every command that plans from specs.
func planFlags(cmd *cobra.Command) *plan.Options {
	o := &plan.Options{}
	cmd.Flags().StringSliceVar(&o.AdoptPrefixes, "adopt-prefix", nil, "also adopt containers whose id is this prefix followed by the name of the workspace")
	cmd.Flags().BoolVar(&o.PruneOrphans, "prune-orphans", false, "delete containers of the set that have neither a spec nor a record; their data is preserved")
	return o
}

func planCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan [PATH...]", SuggestFor: []string{"diff"},
		Short: "Show what apply would do, and change nothing",
		Long:  "Compare the specs with the store and with containerd, and print the plan. PATH is a file, a folder, or - for standard input; the default is the current folder.",
	}
	options, policy := planFlags(cmd), policyFlag(cmd, defaultPolicy)
	output := outputFlag(cmd, "text", "json", "markdown", "github")
	out := cmd.Flags().String("out", "", "also write the plan as JSON to this file, for apply --plan; - is standard output, and the plan in words is then on standard error")
	detailed := cmd.Flags().Bool("detailed-exitcode", false, "exit with 2 when there are changes")
	everywhere := cmd.Flags().Bool("all-hosts", false, "plan for all hosts of the store, from the last observation of each agent; this does not use containerd")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		if err := oneOf("output", *output, "text", "json", "markdown", "github"); err != nil {
			return err
		}
		if *out == "" && cmd.Flags().Changed("out") {
			return errors.New("--out is empty (name a file, or leave the flag out)")
		}
		if *everywhere {
			if *out != "" {
				return errors.New("--out writes the plan of one host (leave out --out or --all-hosts)")
			}
			v, err := planAll(cmd, host, paths, policy, *options, *output)
			if err != nil {
				return err
			}
			return fleetResult(v, *detailed, *output)
		}
		want, err := load(paths, policy, host.Host)
		if err != nil {
			return err
		}
		p, err := planFor(cmd.Context(), host, want, *options)
		if err != nil {
			return err
		}
		if err := writeAndShow(cmd, p, *out, *output); err != nil {
			return err
		}
		if *detailed && !p.Empty() {
			return errChanges
		}
		return nil
	}
	return cmd
}

// load reads the specs, and checks those of this host against its policy.
func load(paths []string, policy *policyFile, host string) (spec.Set, error) {
	allowed, err := policy.read()
	if err != nil {
		return spec.Set{}, err
	}
	return allowed.LoadSpecs(host, orHere(paths)...)
}

// orHere is the current folder when there are no paths.
func orHere(paths []string) []string {
	if len(paths) == 0 {
		return []string{"."}
	}
	return paths
}

// planFor observes the host and plans.
func planFor(ctx context.Context, c *drivers.Config, want spec.Set, options plan.Options) (p plan.Plan, err error) {
	host, err := drivers.OpenReadOnly(ctx, *c)
	if err != nil {
		return plan.Plan{}, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	now, err := host.Observe(ctx, want)
	if err != nil {
		return plan.Plan{}, err
	}
	if p, err = plan.New(want, now, options); err != nil {
		return plan.Plan{}, err
	}
	return p.Tell(host.Runtime.Written(ctx, p.Roots())), nil
}

// writeAndShow writes a plan to the place that a user named, if any, and shows it.
func writeAndShow(cmd *cobra.Command, p plan.Plan, out, form string) (err error) {
	show := cmd.OutOrStdout()
	if out != "" {
		if show, err = writePlan(cmd, out, p); err != nil {
			return err
		}
	}
	if out == "-" && form == "json" {
		return nil // it is the same
	}
	return showPlan(show, p, form)
}

// writePlan writes a plan to a place that a user named. Then the plan is shown on
// standard error if the place is standard output.
func writePlan(cmd *cobra.Command, path string, p plan.Plan) (show io.Writer, err error) {
	text, err := report.OfPlan(p).JSON()
	if err != nil {
		return nil, err
	}
	if path == "-" {
		_, err := cmd.OutOrStdout().Write(text)
		return cmd.ErrOrStderr(), err
	}
	to, err := findDestination(path, cmd.OutOrStdout())
	if err != nil {
		return nil, err
	}
	return cmd.OutOrStdout(), to.write(text)
}

// planned is the plan that apply --plan names: from a file that plan --out wrote,
// from standard input, or with nothing but an id.
func planned(name string, stdin io.Reader) (report.Plan, error) {
	if name == "" {
		return report.Plan{}, errors.New("--plan is empty (name a file that carrel plan --out wrote, or a plan id)")
	}
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(name)
	}
	if errors.Is(err, os.ErrNotExist) && plan.IsID(name) {
		return report.Plan{ID: name}, nil
	}
	if err != nil {
		return report.Plan{}, fmt.Errorf("--plan: %w", err)
	}
	var view report.Plan
	if err := json.Unmarshal(text, &view); err != nil || !plan.IsID(view.ID) {
		return report.Plan{}, fmt.Errorf("--plan: %s is not a plan (write one with carrel plan --out)", name)
	}
	if view.Version > report.Version {
		return report.Plan{}, fmt.Errorf("--plan: %s has version %d, this carrel knows %d (use the carrel that wrote it)", name, view.Version, report.Version)
	}
	return view, nil
}
