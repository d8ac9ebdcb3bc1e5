package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"carrel/drivers"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/spec"
)

// planFlags are the choices of planning, which plan and apply share.
func planFlags(cmd *cobra.Command) *plan.Options {
	o := &plan.Options{}
	cmd.Flags().StringSliceVar(&o.AdoptPrefixes, "adopt-prefix", nil, "also adopt containers whose id is this prefix and the workspace's name")
	cmd.Flags().BoolVar(&o.PruneOrphans, "prune-orphans", false, "delete containers of the set that no spec and no record knows; their data is preserved")
	return o
}

func planCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan [PATH...]",
		Short: "Say what apply would do, and change nothing",
		Long:  "Compare specs with the store and with containerd and print the plan. PATH is a file, a folder, or - for standard input; default: this folder.",
	}
	options, policy := planFlags(cmd), policyFlag(cmd, defaultPolicy)
	output := outputFlag(cmd, "text", "json", "markdown", "github")
	out := cmd.Flags().String("out", "", "also write the plan in JSON to this file, for apply --plan")
	detailed := cmd.Flags().Bool("detailed-exitcode", false, "exit 2 when there is something to do")
	everywhere := cmd.Flags().Bool("all-hosts", false, "plan for all hosts of the store, as their agents last saw them; containerd is not asked")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		if err := oneOf("output", *output, "text", "json", "markdown", "github"); err != nil {
			return err
		}
		if *everywhere {
			if *out != "" {
				return errors.New("--out keeps the plan of one host (leave it out, or --all-hosts)")
			}
			v, err := planAll(cmd, host, paths, policy, *options, *output)
			if err != nil {
				return err
			}
			return fleetResult(v, *detailed)
		}
		want, err := load(paths, policy, host.Host)
		if err != nil {
			return err
		}
		p, err := planFor(cmd.Context(), host, want, *options)
		if err != nil {
			return err
		}
		if *out != "" {
			if err := writePlan(*out, p); err != nil {
				return err
			}
		}
		if err := showPlan(cmd.OutOrStdout(), p, *output); err != nil {
			return err
		}
		if *detailed && !p.Empty() {
			return errChanges
		}
		return nil
	}
	return cmd
}

// load reads the specs, and checks those that this host may apply against its
// policy.
func load(paths []string, policy *policyFile, host string) (spec.Set, error) {
	allowed, err := policy.read()
	if err != nil {
		return spec.Set{}, err
	}
	return allowed.LoadSpecs(host, orHere(paths)...)
}

// orHere is the current folder when no path was given.
func orHere(paths []string) []string {
	if len(paths) == 0 {
		return []string{"."}
	}
	return paths
}

// planFor looks at the host and plans.
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
	return plan.New(want, now, options)
}

// writePlan writes a plan to a file.
func writePlan(path string, p plan.Plan) error {
	text, err := report.OfPlan(p).JSON()
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(filepath.Dir(path)))
}

// planned is the plan that apply --plan names: a file that plan --out wrote,
// or only an id.
func planned(name string) (report.Plan, error) {
	text, err := os.ReadFile(name)
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
	return view, nil
}
