package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"carrel/drivers"
	"carrel/drivers/containerd"
	"carrel/drivers/records"
	"carrel/plan/decide"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

func statusCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status [NAME...]", SuggestFor: []string{"ps", "ls", "list", "get"},
		Short: "Show the workspaces of this host and their current state",
	}
	output := outputFlag(cmd, "table", "json", "yaml")
	everywhere := cmd.Flags().Bool("all-hosts", false, "show all hosts of the store and their agents, from the last observation of each agent")
	cmd.RunE = func(cmd *cobra.Command, names []string) (err error) {
		if err := oneOf("output", *output, "table", "json", "yaml"); err != nil {
			return err
		}
		if *everywhere {
			if len(names) > 0 {
				return errors.New("--all-hosts shows all workspaces (leave out the names, or the flag)")
			}
			fleet, err := fleetOf(cmd.Context(), host)
			if err != nil {
				return err
			}
			return showFleet(cmd.OutOrStdout(), fleet, *output)
		}
		opened, err := drivers.OpenReadOnly(cmd.Context(), *host)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, opened.Close()) }()
		now, err := opened.Observe(cmd.Context(), spec.Set{})
		if err != nil {
			return err
		}
		agents, err := opened.Records.Agents(cmd.Context())
		if err != nil {
			return err
		}
		agents = slices.DeleteFunc(agents, func(a state.Agent) bool { return a.Host != host.Host })
		running := report.Running(agents, now.Time)
		all, err := named(report.WithUnmade(report.Statuses(now), host.Host, running...), names)
		if err != nil {
			return err
		}
		for i := range all {
			all[i] = all[i].Of(running...)
			if since := containerd.Started(all[i].PID); all[i].Running && !since.IsZero() {
				all[i].UpSince = &since
			}
		}
		if err := showStatus(cmd.OutOrStdout(), all, *output, now.Time); err != nil || *output != "table" || len(names) > 0 {
			return err
		}
		return showAgents(cmd.OutOrStdout(), agents, now.Time)
	}
	return cmd
}

// named is the statuses of the workspaces with these names; all without names.
func named(all []report.Status, names []string) ([]report.Status, error) {
	if len(names) == 0 {
		return all, nil
	}
	byName := map[string]report.Status{}
	for _, s := range all {
		byName[s.Workspace] = s
	}
	var found []report.Status
	for _, name := range names {
		s, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("no workspace of this host is called %s (carrel status lists them)", name)
		}
		found = append(found, s)
	}
	return found, nil
}

func showStatus(out io.Writer, all []report.Status, form string, now time.Time) error {
	switch form {
	case "json":
		return asJSON(out, all)
	case "yaml":
		return asYAML(out, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "This host has no workspaces.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSET\tSTATE\tPID\tUP\tADDRESS\tIMAGE\tDATA")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			s.Workspace, dash(s.Set), stateOf(s, now), pid(s), up(s, now), dash(s.Address), dash(shortImage(s)), data(s))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		for _, why := range []struct{ begin, text string }{{"the last apply failed", s.LastError}, {string(s.State), s.Reason}} {
			if why.text == "" {
				continue
			}
			if _, err := fmt.Fprintf(out, "\n%s: %s: %s\n", s.Workspace, why.begin, why.text); err != nil {
				return err
			}
		}
	}
	return nil
}

// asYAML converts the JSON to YAML, so that both have the same keys.
func asYAML(out io.Writer, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	var plain any
	if err := yaml.Unmarshal(text, &plain); err != nil {
		return err
	}
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	return errors.Join(encoder.Encode(plain), encoder.Close())
}

// stateOf is the state with the details that explain it.
func stateOf(s report.Status, now time.Time) string {
	memory := ""
	if s.OOMKills > 0 {
		memory = ", out of memory"
	}
	retry := ""
	if s.NextRetry != nil {
		retry = "; retry " + report.When(*s.NextRetry, now)
		if s.Restarts > 0 {
			retry = fmt.Sprintf("; attempt %d, retry %s", s.Restarts, report.When(*s.NextRetry, now))
		}
	}
	if s.ExitCode == nil || s.StoppedByUser {
		return string(s.State) + memory + retry
	}
	return fmt.Sprintf("exited %d%s, %s ago%s", *s.ExitCode, memory, decide.Since(now.Sub(*s.ExitedAt)), retry)
}

func pid(s report.Status) string {
	if s.PID == 0 {
		return "-"
	}
	return fmt.Sprint(s.PID)
}

func up(s report.Status, now time.Time) string {
	if s.UpSince == nil {
		return "-"
	}
	return decide.Since(now.Sub(*s.UpSince))
}

// shortImage is the image as the spec writes it, and the beginning of its digest.
func shortImage(s report.Status) string {
	image := s.Image
	if archive, ok := (spec.Workspace{Image: image}).Archive(); ok {
		archive.File = filepath.Base(archive.File)
		image = archive.String()
	}
	image = strings.TrimPrefix(image, "docker.io/library/")
	if _, hex, ok := strings.Cut(s.Digest, ":"); ok && !strings.Contains(image, "@") {
		image += "@" + hex[:min(12, len(hex))]
	}
	return image
}

func data(s report.Status) string {
	switch {
	case s.Volume != "" && len(s.Preserved) > 0:
		return fmt.Sprintf("volume, and %d preserved", len(s.Preserved))
	case s.Volume != "":
		return "volume"
	case len(s.Preserved) > 0:
		return fmt.Sprintf("preserved %s", s.Preserved[len(s.Preserved)-1].Format(time.RFC3339))
	}
	return "-"
}

func dash(word string) string {
	if word == "" {
		return "-"
	}
	return word
}

func historyCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use: "history [NAME]", SuggestFor: []string{"events", "log"},
		Short: "Show the steps that were carried out, newest first",
		Args:  arguments(0, 1),
	}
	output := outputFlag(cmd, "table", "json")
	limit := cmd.Flags().Int("limit", 100, "show at most this many steps")
	cmd.RunE = func(cmd *cobra.Command, names []string) (err error) {
		if err := oneOf("output", *output, "table", "json"); err != nil {
			return err
		}
		store, err := records.OpenReadOnly(cmd.Context(), host.StoreURL())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		entries, err := store.History(cmd.Context(), records.Query{Workspace: strings.Join(names, ""), Limit: *limit})
		if err != nil {
			return err
		}
		return showHistory(cmd.OutOrStdout(), entries, *output)
	}
	return cmd
}

func showHistory(out io.Writer, entries []state.Entry, form string) error {
	if form == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(entries)
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintln(out, "There is no history.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tWHO\tPLAN\tWORKSPACE\tACTION\tREASON\tSTEP\tTOOK\tRESULT")
	for _, e := range entries {
		result := "done"
		if e.Error != "" {
			result = "failed: " + e.Error
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Format(time.RFC3339), e.Who, e.Plan, e.Workspace,
			e.Action, dash(e.Reason), e.Step, e.Duration.Round(time.Millisecond), result)
	}
	return table.Flush()
}
