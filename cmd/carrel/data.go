package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"carrel/drivers"
	"carrel/drivers/volumes"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func dataCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use: "data", Short: "List, restore, remove, export and import the data of workspaces",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dataLsCommand(host), dataRestoreCommand(host), dataRmCommand(host), dataExportCommand(host), dataImportCommand(host))
	return cmd
}

// dataView is one volume, or preserved data.
type dataView struct {
	Workspace   string     `json:"workspace"`
	Set         string     `json:"set,omitempty"`         // only of preserved data
	PreservedAt *time.Time `json:"preservedAt,omitempty"` // nil for a volume in use
	Bytes       *int64     `json:"bytes,omitempty"`
	Path        string     `json:"path"`
}

func dataLsCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [NAME...]",
		Short: "List the volumes and the preserved data of this host",
	}
	output := outputFlag(cmd, "table", "json")
	size := cmd.Flags().Bool("size", false, "also show the sizes; this reads every folder")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := oneOf("output", *output, "table", "json"); err != nil {
			return err
		}
		driver := volumes.New(host.StateDir)
		all, err := listData(cmd.Context(), driver, names)
		if err != nil {
			return err
		}
		for i := range all {
			if *size {
				bytes, err := driver.Usage(cmd.Context(), all[i].Path)
				if err != nil {
					return err
				}
				all[i].Bytes = &bytes
			}
		}
		return showData(cmd.OutOrStdout(), all, *output)
	}
	return cmd
}

func listData(ctx context.Context, driver *volumes.Driver, names []string) ([]dataView, error) {
	live, err := driver.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	preserved, err := driver.Preserved(ctx)
	if err != nil {
		return nil, err
	}
	all := []dataView{}
	for _, v := range live {
		all = append(all, dataView{Workspace: v.Workspace, Path: v.Path})
	}
	for _, v := range preserved {
		all = append(all, dataView{Workspace: v.Workspace, Set: v.Set, PreservedAt: &v.At, Path: v.Path})
	}
	slices.SortStableFunc(all, func(a, b dataView) int { return cmp.Compare(a.Workspace, b.Workspace) })
	if len(names) == 0 {
		return all, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(d dataView) bool { return d.Workspace == name }) {
			return nil, fmt.Errorf("this host has no data of %s (carrel data ls lists all)", name)
		}
	}
	return slices.DeleteFunc(all, func(d dataView) bool { return !slices.Contains(names, d.Workspace) }), nil
}

func showData(out io.Writer, all []dataView, form string) error {
	if form == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "This host has no data of workspaces.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPRESERVED\tSET\tSIZE\tPATH")
	for _, d := range all {
		at, size := "in use", "-"
		if d.PreservedAt != nil {
			at = d.PreservedAt.UTC().Format(time.RFC3339)
		}
		if d.Bytes != nil {
			size = units.BytesSize(float64(*d.Bytes))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", d.Workspace, at, dash(d.Set), size, d.Path)
	}
	return table.Flush()
}

func dataRestoreCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore NAME",
		Short: "Restore preserved data as the volume; the current data is preserved",
		Args:  arguments(1, 1),
	}
	o := applyFlags(cmd)
	at := cmd.Flags().String("at", "", "time of the preserved data, as carrel data ls prints it (default: the newest)")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return change(cmd, *host, *o, spec.Set{}, func(now state.State) (plan.Plan, error) { return plan.Restore(now, names[0], *at) })
	}
	return cmd
}

func dataRmCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Delete preserved data of a workspace permanently",
		Long:  "Delete preserved data permanently. It asks first; --yes does not ask. It never deletes the volume of a workspace: carrel delete preserves that first.",
		Args:  arguments(1, 1),
	}
	o := applyFlags(cmd)
	at := cmd.Flags().String("at", "", "time of the preserved data, as carrel data ls prints it (default: all of it)")
	yes := cmd.Flags().Bool("yes", false, "do not ask for approval; the same as --auto-approve")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		o.approve, o.anyStore = o.approve || *yes, true // it may be what makes room
		return change(cmd, *host, *o, spec.Set{}, func(now state.State) (plan.Plan, error) { return plan.Discard(now, names[0], *at) })
	}
	return cmd
}

func dataImportCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import NAME FILE",
		Short: "Import an archive as the volume of a workspace; the current data is preserved",
		Long:  "FILE is a tar archive, uncompressed or compressed with zstd or gzip. carrel unpacks it next to the volume first. The workspace stops only while the volumes are exchanged.",
		Args:  arguments(2, 2),
	}
	o := applyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, err := filepath.Abs(args[1])
		if err != nil {
			return err
		}
		if _, err := os.Stat(file); err != nil {
			return err
		}
		return change(cmd, *host, *o, spec.Set{}, func(now state.State) (plan.Plan, error) { return plan.Import(now, args[0], file) })
	}
	return cmd
}

func dataExportCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Export the volume of a workspace to a tar archive, compressed with zstd",
		Args:  arguments(1, 1),
	}
	file := cmd.Flags().StringP("output", "o", "", "file of the archive, or - for standard output (default: NAME.tar.zst)")
	consistent := cmd.Flags().Bool("stop", false, "stop the workspace during the export, so that the copy is consistent")
	o := applyOptions{approve: true, parallel: 1, lockTimeout: 30 * time.Second}
	cmd.RunE = func(cmd *cobra.Command, names []string) (err error) {
		ctx, name := cmd.Context(), names[0]
		out, finish, err := archiveFile(cmd.OutOrStdout(), cmp.Or(*file, name+".tar.zst"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, finish(err)) }()
		if *consistent {
			resume, err := halt(ctx, cmd.CommandPath(), *host, o, name)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, resume()) }()
		}
		show := copying(cmd.ErrOrStderr(), "export "+name)
		changed, err := volumes.New(host.StateDir).Export(ctx, name, out, show.at)
		show.end()
		if len(changed) > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "carrel: %s changed during the export, for example %q (--stop makes a consistent copy)\n",
				count(len(changed), "file"), changed[0])
		}
		return err
	}
	return cmd
}

// archiveFile is standard output, or a place that a user named. A file gets its
// name only when it is complete. finish completes it, or removes it after a failure.
func archiveFile(stdout io.Writer, path string) (out io.Writer, finish func(failed error) error, err error) {
	if path == "-" {
		return stdout, func(error) error { return nil }, notTerminal(stdout)
	}
	to, err := findDestination(path, stdout)
	if err != nil {
		return nil, nil, err
	}
	out, end, err := to.stream()
	if err != nil {
		return nil, nil, err
	}
	if err := notTerminal(out); err != nil {
		_, failed := end(err)
		return nil, nil, errors.Join(err, failed)
	}
	return out, func(failed error) error {
		made, err := end(failed)
		if !made || err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "wrote %s\n", path)
		return err
	}, nil
}

func notTerminal(out io.Writer) error {
	if terminal(out) {
		return errors.New("refused: the output is a terminal (name a file with -o, or redirect the output)")
	}
	return nil
}
