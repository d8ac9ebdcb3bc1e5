// Command carrel keeps long-lived containers on containerd in the state that
// YAML specs describe.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set when the program is built.
var version = "unknown"

// The exit codes.
const (
	exitOK      = 0
	exitError   = 1
	exitChanges = 2   // plan --detailed-exitcode: there are changes
	exitKilled  = 130 // the second interrupt
)

// errChanges makes plan --detailed-exitcode exit with exitChanges.
var errChanges = errors.New("there are changes")

func main() { os.Exit(run()) }

// run is main with an exit code, for the program's tests to call.
func run() int {
	ctx, stop := interruptible()
	defer stop()
	cmd, err := root().ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errChanges):
		return exitChanges
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if err := printErrors(cmd, err); err != nil {
		fmt.Fprintln(os.Stderr, "carrel:", err)
	}
	return exitError
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "carrel",
		Short:         "Keep long-lived containers on containerd in the state that YAML specs describe",
		Long:          "Keep long-lived containers on containerd in the state that YAML specs describe.\n\nEach flag can also be set by an environment variable: CARREL_STATE_DIR for --state-dir.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	cmd.SetVersionTemplate("carrel {{.Version}}\n")
	settings := hostFlags(cmd)
	cmd.AddCommand(
		validateCommand(), schemaCommand(), versionCommand(),
		planCommand(settings), applyCommand(settings), statusCommand(settings), historyCommand(settings),
		startCommand(settings), stopCommand(settings), restartCommand(settings), deleteCommand(settings),
		dataCommand(settings), devicesCommand(settings), watchCommand(settings),
	)
	return cmd
}
