package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"carrel/drivers"
)

// The defaults of the flags that say where things are.
const (
	defaultStateDir  = "/var/lib/carrel"
	defaultAddress   = "/run/containerd/containerd.sock"
	defaultNamespace = "carrel"
	defaultHostsDir  = "/etc/containerd/certs.d"
	defaultRunDir    = "/run/carrel"
	defaultConfDir   = "/etc/cni/net.d"
	maxParallelism   = 16
)

// hostFlags are the flags of every command that talks to the host. Each has an
// environment twin: CARREL_STATE_DIR for --state-dir.
func hostFlags(cmd *cobra.Command) *drivers.Config {
	c := &drivers.Config{}
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.StateDir, "state-dir", defaultStateDir, "folder of volumes, logs and the embedded store")
	flags.StringVar(&c.Store, "store", "", "URL of the record store: sqlite:///path or postgres://... (default: SQLite in the state dir)")
	flags.StringVar(&c.Address, "address", defaultAddress, "containerd's socket")
	flags.StringVar(&c.Namespace, "namespace", defaultNamespace, "containerd namespace; no other is touched")
	flags.StringVar(&c.Snapshotter, "snapshotter", "overlayfs", "containerd snapshotter")
	flags.StringVar(&c.HostsDir, "hosts-dir", defaultHostsDir, "folder of registries' hosts.toml")
	c.Waiting = func(missing string) { fmt.Fprintf(os.Stderr, "carrel: waiting for the CDI files of %s\n", missing) }
	flags.StringVar(&c.RunDir, "run-dir", defaultRunDir, "folder of network namespaces; one for each state dir")
	flags.StringVar(&c.CNIConfDir, "cni-conf-dir", defaultConfDir, "folder of CNI configurations; without one there is a built-in bridge")
	flags.StringSliceVar(&c.CNIBinDirs, "cni-bin-dir", []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}, "folders of CNI plugins")
	flags.StringVar(&c.Subnet, "subnet", "10.63.0.0/16", "subnet of the built-in bridge")
	flags.StringSliceVar(&c.CDISpecDirs, "cdi-spec-dir", []string{"/etc/cdi", "/var/run/cdi"}, "folders of CDI files; later ones win")
	flags.StringVar(&c.Host, "host", hostname(), "name of this host in specs and records")
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) }
	return c
}

// fromEnvironment gives flags that were not passed the values of their
// environment twins.
func fromEnvironment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		twin := "CARREL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, set := os.LookupEnv(twin)
		if !set || f.Changed || failed != nil {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			failed = fmt.Errorf("%s: %w", twin, err)
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

// outputFlag is -o with the forms that a command has; the first is its default.
func outputFlag(cmd *cobra.Command, forms ...string) *string {
	return cmd.Flags().StringP("output", "o", forms[0], "form of the output: "+strings.Join(forms, ", "))
}

func oneOf(flag, value string, forms ...string) error {
	for _, form := range forms {
		if value == form {
			return nil
		}
	}
	return fmt.Errorf("--%s %q is not known (want %s)", flag, value, strings.Join(forms, ", "))
}
