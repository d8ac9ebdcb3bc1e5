package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"carrel/drivers"
	"carrel/drivers/cdi"
	"carrel/plan/state"
)

func devicesCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List the CDI devices of this host",
		Long:  "List the CDI devices of this host by their fully qualified names, as specs write them, with a digest of what each resolves to.",
		Args:  cobra.NoArgs,
	}
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("output", *output, "table", "json"); err != nil {
			return err
		}
		devices, err := cdi.New(host.CDISpecDirs...).Devices(cmd.Context())
		if err != nil {
			return err
		}
		for _, warning := range devices.Warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "carrel: %s\n", warning)
		}
		return showDevices(cmd.OutOrStdout(), devices, *output)
	}
	return cmd
}

func showDevices(out io.Writer, devices state.Devices, form string) error {
	names := slices.Sorted(maps.Keys(devices.Found))
	if form == "json" {
		type view struct {
			Name   string `json:"name"`
			Digest string `json:"digest"`
		}
		all := []view{}
		for _, name := range names {
			all = append(all, view{name, devices.Found[name]})
		}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	if len(names) == 0 {
		_, err := fmt.Fprintf(out, "This host has no CDI devices (searched %s).\n", strings.Join(devices.Folders, ", "))
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tDIGEST")
	for _, name := range names {
		fmt.Fprintf(table, "%s\t%s\n", name, devices.Found[name])
	}
	return table.Flush()
}
