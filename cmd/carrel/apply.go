package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carrel/apply"
	"carrel/drivers"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

// applyOptions are the flags of every command that changes the host.
type applyOptions struct {
	approve     bool
	massDelete  bool
	dataLoss    bool
	parallel    int
	lockTimeout time.Duration
	minReady    time.Duration
	anyStore    bool // go on when the store takes nothing at present, as on a full disk
	output      *string
	planned     *report.Plan // the only plan that may be applied; nil when any may
}

func applyFlags(cmd *cobra.Command) *applyOptions {
	o := &applyOptions{output: outputFlag(cmd, "text", "json")}
	cmd.Annotations[streams] = "yes"
	flags := cmd.Flags()
	flags.BoolVar(&o.approve, "auto-approve", false, "do not ask for approval")
	flags.BoolVar(&o.massDelete, "allow-mass-delete", false, "allow the plan to delete more than half of the set (and at least three workspaces)")
	flags.BoolVar(&o.dataLoss, "allow-data-loss", false, "allow the plan to delete data permanently")
	flags.IntVar(&o.parallel, "parallelism", parallelism(), "how many workspaces to change at the same time")
	minReadyFlag(flags, &o.minReady)
	flags.DurationVar(&o.lockTimeout, "lock-timeout", 30*time.Second, "how long to wait while another carrel command changes this host")
	return o
}

func applyCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply [PATH...]", SuggestFor: []string{"up", "create", "run", "deploy"},
		Short: "Change the host so that it matches the specs",
		Long:  "Plan, show the plan, ask for approval, and carry it out. PATH is a file, a folder, or - for standard input; the default is the current folder.",
	}
	options, o, policy := planFlags(cmd), applyFlags(cmd), policyFlag(cmd, defaultPolicy)
	wait := cmd.Flags().Duration("device-wait", 30*time.Second, "how long to wait for the CDI files of a vendor that has none yet; by default only soon after a boot, and when the host may have the vendor's tools")
	expected := cmd.Flags().String("plan", "", "apply only if the plan is still this saved one: a file that plan --out wrote, - for standard input, or a plan id")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		if cmd.Flags().Changed("plan") {
			was, err := planned(*expected, cmd.InOrStdin())
			if err != nil {
				return err
			}
			o.planned = &was
		}
		want, err := load(paths, policy, host.Host)
		if err != nil {
			return err
		}
		c := *host
		c.DeviceWait = *wait
		if !cmd.Flags().Changed("device-wait") && !mayAppear(devicesOf(want.Here(host.Host)), uptime(), installed) {
			c.DeviceWait = 0
		}
		c.Waiting = func(missing string) {
			fmt.Fprintf(cmd.ErrOrStderr(), "carrel: waiting up to %s for the CDI files of %s, which the tools of the vendor may still write (--device-wait)\n", *wait, missing)
		}
		return change(cmd, c, *o, want, func(now state.State) (plan.Plan, error) {
			return plan.New(want, now, *options)
		})
	}
	return cmd
}

// change is what every command that changes the host does: it locks the host,
// observes, plans, shows the plan, asks for approval, and runs the plan.
func change(cmd *cobra.Command, c drivers.Config, o applyOptions, want spec.Set, decide func(state.State) (plan.Plan, error)) (err error) {
	if err := oneOf("output", *o.output, "text", "json"); err != nil {
		return err
	}
	if o.parallel < 1 {
		return fmt.Errorf("--parallelism must be at least 1, not %d", o.parallel)
	}
	if o.minReady <= 0 {
		return fmt.Errorf("--min-ready must be more than 0, not %s", o.minReady)
	}
	ctx := cmd.Context()
	host, done, err := openLocked(ctx, cmd.CommandPath(), c, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	now, err := host.Observe(ctx, want)
	if err != nil {
		return err
	}
	p, err := decide(now)
	if err != nil {
		return err
	}
	p = p.Tell(host.Runtime.Written(ctx, p.Roots()))
	if err := showBefore(cmd.OutOrStdout(), p, *o.output); err != nil {
		return err
	}
	if err := checkAllowed(p, o); err != nil || p.Empty() {
		return err
	}
	if err := confirm(ctx, cmd.InOrStdin(), cmd.ErrOrStderr(), o.approve); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() {
		fmt.Fprintf(cmd.ErrOrStderr(), "carrel: %s: finishing the changes that have started (interrupt again to stop at once)\n", context.Cause(ctx))
	})()
	if err := host.ClaimStateDir(); err != nil {
		return err
	}
	show := progress(cmd.OutOrStdout(), cmd.ErrOrStderr(), *o.output)
	runner := newRunner(host, o)
	runner.Report = show.event
	err = runner.Run(ctx, p)
	return errors.Join(err, show.done(p, err), unheard(ctx))
}

// showBefore shows a plan before it is carried out.
func showBefore(out io.Writer, p plan.Plan, form string) error {
	if form == "json" {
		return printLine(out, lineOfPlan(p))
	}
	return showPlan(out, p, form)
}

// openLocked opens the host for changes. No other carrel command can change it
// until done is called. From here on, signals interrupt the program and do not end it.
func openLocked(ctx context.Context, command string, c drivers.Config, o applyOptions) (host *drivers.Host, done func() error, err error) {
	finishFirst()
	unlock, err := apply.Lock(ctx, c.StateDir, who()+" with "+command, o.lockTimeout)
	if err != nil {
		return nil, nil, err
	}
	open := drivers.Open
	if o.anyStore {
		open = drivers.OpenAnyway
	}
	host, err = open(ctx, c)
	if err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	done = func() error { return errors.Join(host.Close(), unlock()) }
	if err := host.Runtime.UnmountLeft(); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return host, done, nil
}

func newRunner(host *drivers.Host, o applyOptions) *apply.Runner {
	return &apply.Runner{
		Runtime: host.Runtime, Network: host.Network, Volumes: host.Volumes, Records: host.Records,
		Observe: func(ctx context.Context) (state.State, error) { return host.Observe(ctx, spec.Set{}) },
		Who:     who(), Parallel: o.parallel, MinReady: o.minReady,
	}
}

// halt stops a workspace while its data is copied. The function that it returns
// starts the workspace again, if it ran before.
func halt(ctx context.Context, command string, c drivers.Config, o applyOptions, name string) (resume func() error, err error) {
	host, done, err := openLocked(ctx, command, c, o)
	if err != nil {
		return nil, err
	}
	carryOut := func(ctx context.Context, decide func(state.State, string) (plan.Plan, error)) (bool, error) {
		now, err := host.Observe(ctx, spec.Set{})
		if err != nil {
			return false, err
		}
		p, err := decide(now, name)
		if err != nil || p.Empty() {
			return false, err
		}
		if err := host.ClaimStateDir(); err != nil {
			return false, err
		}
		return true, newRunner(host, o).Run(ctx, p)
	}
	ran, err := carryOut(ctx, plan.Pause)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	return func() error {
		if !ran {
			return done()
		}
		_, err := carryOut(context.WithoutCancel(ctx), plan.Resume)
		return errors.Join(err, done())
	}, nil
}

// checkAllowed returns an error when a plan needs a flag that was not passed, or
// differs from the plan that --plan names.
func checkAllowed(p plan.Plan, o applyOptions) error {
	if p.MassDelete() && !o.massDelete {
		return fmt.Errorf("refused: %d of the %d workspaces of set %s would be deleted (check the path, or pass --allow-mass-delete)",
			len(p.Deletes()), p.Owned, p.Set)
	}
	if losses := p.Losses(); len(losses) > 0 && !o.dataLoss {
		return fmt.Errorf("refused: the data of %s would be deleted permanently (pass --allow-data-loss to allow it)", strings.Join(losses, ", "))
	}
	was := o.planned
	if was == nil || was.ID == p.ID() {
		return nil
	}
	if was.Version == 0 {
		return fmt.Errorf("refused: the plan is now %s, not %s (review the plan above)", p.ID(), was.ID)
	}
	now := report.OfPlan(p)
	now.ID = was.ID
	diff := append(without("- ", was.Text(), now.Text()), without("+ ", now.Text(), was.Text())...)
	if len(diff) == 0 {
		return errors.New("refused: planning again gives another plan: hidden values, for example of environment variables, have changed (plan again and review the plan)")
	}
	return fmt.Errorf("refused: planning again gives another plan (plan again and review the plan); - before, + now:\n%s", strings.Join(diff, "\n"))
}

// without is the lines of a text that another text does not have, each after a
// mark.
func without(mark, text, other string) []string {
	var lines []string
	have := strings.Split(other, "\n")
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && !slices.Contains(have, line) {
			lines = append(lines, mark+line)
		}
	}
	return lines
}

// who is the person who runs carrel, for the history.
func who() string {
	name := os.Getenv("SUDO_USER")
	if name == "" {
		name = "uid " + fmt.Sprint(os.Getuid())
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	return name + "@" + hostname()
}
