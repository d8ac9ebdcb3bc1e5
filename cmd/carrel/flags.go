package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carrel/apply"
	"carrel/drivers"
)

// The defaults of the flags.
const (
	defaultStateDir  = "/var/lib/carrel"
	defaultAddress   = "/run/containerd/containerd.sock"
	defaultNamespace = "carrel"
	defaultHostsDir  = "/etc/containerd/certs.d"
	defaultRunDir    = "/run/carrel"
	defaultConfDir   = "/etc/cni/net.d"
	maxParallelism   = 16
)

// hostFlags are the flags of all commands. Each can also be set by an
// environment variable: CARREL_STATE_DIR for --state-dir.
func hostFlags(cmd *cobra.Command) *drivers.Config {
	c := &drivers.Config{}
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.StateDir, "state-dir", defaultStateDir, "folder of volumes, logs and the default store")
	flags.StringVar(&c.Store, "store", "", "URL of the record store: sqlite:///path or postgres://... (default: SQLite in the state dir)")
	flags.StringVar(&c.Address, "address", defaultAddress, "socket of containerd: its path, or unix:// and its path")
	flags.StringVar(&c.Namespace, "namespace", defaultNamespace, "containerd namespace; carrel uses no other")
	flags.StringVar(&c.Snapshotter, "snapshotter", "overlayfs", "containerd snapshotter")
	flags.StringVar(&c.HostsDir, "hosts-dir", defaultHostsDir, "folder of containerd's hosts.toml files for registries")
	flags.StringVar(&c.RunDir, "run-dir", defaultRunDir, "folder of network namespaces; each state dir needs its own")
	flags.StringVar(&c.CNIConfDir, "cni-conf-dir", defaultConfDir, "folder of CNI configurations; if it has none, carrel uses a built-in bridge")
	c.CNIBinDirs, c.CDISpecDirs = []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}, []string{"/etc/cdi", "/var/run/cdi"}
	flags.Var(&folders{list: &c.CNIBinDirs}, "cni-bin-dir", "folders of CNI plugins")
	flags.StringVar(&c.Subnet, "subnet", "10.63.0.0/16", "subnet of the built-in bridge")
	flags.StringVar(&c.ResolvConf, "resolv-conf", "/etc/resolv.conf", "file with the nameservers that workspaces use; those that they cannot reach are left out")
	flags.Var(&folders{list: &c.CDISpecDirs}, "cdi-spec-dir", "folders of CDI files; later folders take precedence")
	flags.StringVar(&c.Host, "host", hostname(), "name of this host in specs and records")
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd.Flags()); err != nil {
			return err
		}
		return absolutePaths(c)
	}
	return c
}

// fromEnvironment sets the flags that were not passed from their environment
// variables. An empty variable counts as not set.
func fromEnvironment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		variable := "CARREL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(variable)
		if value == "" || f.Changed || failed != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("%s: %w", variable, err)
		}
	})
	return failed
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return strings.ToLower(name)
}

func parallelism() int { return min(2*runtime.NumCPU(), maxParallelism) }

// many is for a command that takes any number of arguments.
const many = math.MaxInt

// arguments is how many arguments a command takes.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("too few arguments (write %s)", cmd.UseLine())
		case len(args) > most:
			return fmt.Errorf("too many arguments: %q (write %s)", args[most], cmd.UseLine())
		}
		return nil
	}
}

// minReadyFlag is the flag of every command that starts processes.
func minReadyFlag(flags *pflag.FlagSet, to *time.Duration) {
	flags.DurationVar(to, "min-ready", apply.DefaultMinReady, "how long a new process must run to count as started; one that ends earlier has failed, and what ran before is brought back")
}

// outputFlag is -o with the formats of a command; the first one is the default.
func outputFlag(cmd *cobra.Command, formats ...string) *string {
	cmd.Annotations = map[string]string{hasFormats: strings.Join(formats, ",")}
	return cmd.Flags().StringP("output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
}

// oneOf returns an error when the value of a flag is not one of the valid ones.
func oneOf(flag, value string, valid ...string) error {
	for _, v := range valid {
		if value == v {
			return nil
		}
	}
	return fmt.Errorf("--%s %q is invalid (use one of %s)", flag, value, strings.Join(valid, ", "))
}
