package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"carrel/drivers"
	"carrel/drivers/records"
	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// fleetOf reads what the store knows of all hosts. It does not use containerd.
func fleetOf(ctx context.Context, c *drivers.Config) (f report.Fleet, err error) {
	store, err := records.OpenReadOnly(ctx, c.StoreURL())
	if err != nil {
		return report.Fleet{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	f.Time = time.Now().UTC()
	if f.Agents, err = store.Agents(ctx); err != nil {
		return f, err
	}
	if f.Observed, f.Unread, err = store.Observations(ctx); err != nil {
		return f, err
	}
	f.Records, err = store.Records(ctx)
	return f, err
}

// planAll plans for all hosts from the last observation of each.
func planAll(cmd *cobra.Command, c *drivers.Config, paths []string, policy *policyFile, options plan.Options, form string) (report.FleetPlan, error) {
	want, err := load(paths, policy, "")
	if err != nil {
		return report.FleetPlan{}, err
	}
	fleet, err := fleetOf(cmd.Context(), c)
	if err != nil {
		return report.FleetPlan{}, err
	}
	absolute := make([]string, len(orHere(paths)))
	for i, path := range orHere(paths) {
		if absolute[i], err = filepath.Abs(path); err != nil {
			return report.FleetPlan{}, err
		}
	}
	v := fleet.Plan(want, absolute, options)
	return v, showFleetPlan(cmd.OutOrStdout(), v, form)
}

// fleetResult is the result of a plan for all hosts: its errors, or else with
// --detailed-exitcode whether there are changes. The JSON has the errors already.
func fleetResult(v report.FleetPlan, detailed bool, form string) error {
	var errs spec.Errors
	for _, text := range v.Errors() {
		errs.Add(spec.Pos{}, "", "%s", text)
	}
	switch err := errs.Err(); {
	case err != nil && form == "json":
		return inOutput{err}
	case err != nil:
		return err
	}
	if detailed && !v.Empty() {
		return errChanges
	}
	return nil
}

func showFleetPlan(out io.Writer, v report.FleetPlan, form string) error {
	text := ""
	switch form {
	case "json":
		return asJSON(out, v)
	case "text":
		text = v.Text()
		if coloured(out) {
			text = colour(text)
		}
	default:
		text = v.Markdown()
	}
	_, err := io.WriteString(out, text)
	return err
}

func asJSON(out io.Writer, what any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(what)
}

// showFleet prints what the store knows of all hosts.
func showFleet(out io.Writer, f report.Fleet, form string) error {
	v := f.Status()
	switch form {
	case "json":
		return asJSON(out, v)
	case "yaml":
		return asYAML(out, v)
	}
	if len(v.Agents) == 0 {
		fmt.Fprintln(out, "No agent has reported: run carrel watch on each host.")
	} else {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "HOST\tSET\tVERSION\tHEARTBEAT\tPENDING\tWAITING\tERRORS\tAGENT")
		for _, a := range v.Agents {
			counts := fmt.Sprintf("%d\t%d\t%d", len(a.Pending), len(a.Waiting), len(a.Errors))
			if report.Gone(a, f.Time) {
				counts = "-\t-\t-" // what it reported may be obsolete
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s ago\t%s\t%s\n", a.Host, a.Set, a.Version, decide.Since(f.Time.Sub(a.SeenAt)), counts, report.Health(a, f.Time))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(v.Workspaces) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tNAME\tSET\tSTATE\tADDRESS\tIMAGE\tAS OBSERVED")
	for _, s := range v.Workspaces {
		observed := "never"
		if s.ObservedAt != nil {
			observed = decide.Since(f.Time.Sub(*s.ObservedAt)) + " ago"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Host, s.Workspace, dash(s.Set), stateOf(s.Status, f.Time), dash(s.Address), dash(shortImage(s.Status)), observed)
	}
	return table.Flush()
}

// showAgents prints the reports of the agents of this host.
func showAgents(out io.Writer, agents []state.Agent, now time.Time) error {
	for _, a := range agents {
		if _, err := fmt.Fprintf(out, "\n%s\n", strings.Join(report.Lines(a, now), "\n")); err != nil {
			return err
		}
	}
	return nil
}
