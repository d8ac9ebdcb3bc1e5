package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"carrel/drivers"
	"carrel/drivers/cdi"
	"carrel/plan/state"
	"carrel/spec"
)

func devicesCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List the CDI devices of this host",
		Long:  "List the CDI devices of this host by their fully qualified names, as specs write them, with a digest of what each resolves to.",
		Args:  arguments(0, 0),
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

// bootTime is how long after a boot vendors may still write CDI files.
const bootTime = 10 * time.Minute

// generators are the programs that write the CDI files of vendors, as far as they
// are known.
var generators = map[string]string{"nvidia.com": "nvidia-ctk", "amd.com": "amd-ctk"}

// mayAppear reports whether CDI files that describe devices may still be written
// without a user: soon after a boot, if the host has the program that writes them.
func mayAppear(devices []string, uptime time.Duration, installed func(program string) bool) bool {
	return uptime < bootTime && slices.ContainsFunc(devices, func(name string) bool {
		vendor, _, _ := strings.Cut(name, "/")
		program, known := generators[vendor]
		return !known || installed(program)
	})
}

func devicesOf(workspaces []spec.Workspace) (names []string) {
	for _, w := range workspaces {
		names = append(names, w.Devices...)
	}
	return names
}

// uptime is how long the host has been up; 0 when that is not known.
func uptime() time.Duration {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return time.Duration(info.Uptime) * time.Second
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
