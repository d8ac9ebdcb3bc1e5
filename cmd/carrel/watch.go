package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"carrel/apply/watch"
	"carrel/apply/watch/files"
	"carrel/drivers"
	"carrel/drivers/containerd"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/report/page"
	"carrel/plan/state"
)

// watchOptions are the flags of carrel watch.
type watchOptions struct {
	plan     *plan.Options
	policy   *policyFile
	resync   time.Duration
	poll     time.Duration
	listen   string
	format   string
	level    slog.LevelVar
	parallel int
	minReady time.Duration
}

// nowhere is the value of --listen for an agent that does not listen.
const nowhere = "none"

func watchCommand(host *drivers.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch PATH...",
		Short: "Keep the host as the specs say, until it is stopped",
		Long: "Apply the specs, and apply them again when files change, when something happens to a workspace, and every few minutes.\n" +
			"While a file has errors, its last valid version counts. Changes that delete data, or most of a set, need approval: carrel apply makes them.\n" +
			"SIGHUP reads everything again, and retries at once what failed. SIGTERM stops the agent; workspaces keep running.",
		Args: arguments(1, many),
	}
	o := &watchOptions{plan: planFlags(cmd), policy: policyFlag(cmd, defaultPolicy)}
	flags := cmd.Flags()
	flags.DurationVar(&o.resync, "resync", 5*time.Minute, "the longest time between two syncs")
	flags.DurationVar(&o.poll, "poll-interval", 2*time.Second, "how often to check files where the kernel does not report changes, as on NFS")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:9473", "address of the page, /status, /metrics, /healthz and /readyz; without a host it is loopback; none: do not listen")
	flags.StringVar(&o.format, "log-format", "auto", "format of the log: text, json, or auto, which is text on a terminal and json elsewhere")
	flags.TextVar(&o.level, "log-level", &slog.LevelVar{}, "debug, info, warn or error")
	flags.IntVar(&o.parallel, "parallelism", parallelism(), "how many workspaces are changed at the same time")
	minReadyFlag(flags, &o.minReady)
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		log, err := o.logger()
		if err != nil {
			return err
		}
		return runAgent(cmd.Context(), *host, o, paths, log)
	}
	return cmd
}

// logger is the agent's log, on standard error.
func (o *watchOptions) logger() (*slog.Logger, error) {
	if err := oneOf("log-format", o.format, "auto", "text", "json"); err != nil {
		return nil, err
	}
	for flag, d := range map[string]time.Duration{"resync": o.resync, "poll-interval": o.poll, "min-ready": o.minReady} {
		if d <= 0 {
			return nil, fmt.Errorf("--%s must be more than 0, not %s", flag, d)
		}
	}
	if o.parallel < 1 {
		return nil, fmt.Errorf("--parallelism must be at least 1, not %d", o.parallel)
	}
	options := &slog.HandlerOptions{Level: &o.level}
	if o.format == "text" || o.format == "auto" && terminal(os.Stderr) {
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
}

// runAgent runs an agent until ctx ends.
func runAgent(ctx context.Context, c drivers.Config, o *watchOptions, paths []string, log *slog.Logger) (err error) {
	surviveClosedOutput()
	all, err := absolute(append([]string{o.policy.path}, paths...))
	if err != nil {
		return err
	}
	paths = all[1:]
	listener, loopback, err := listenAt(o.listen)
	if err != nil {
		return err
	}
	host := newAgentHost(c, o, log)
	defer func() { err = errors.Join(err, host.drivers.Shut()) }()
	registry, wakes, notify := prometheus.NewRegistry(), make(chan watch.Wake), &systemd{log: log}
	specs := files.New(all, o.poll, log, func() { wake(ctx, wakes, watch.Wake{Kind: watch.FilesChanged}) })
	load, err := newLoader(c, o.policy, paths, specs.Follow, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.store.Close()) }()
	agent := &watch.Agent{
		Host: host, Load: load.load, Wakes: wakes, Options: *o.plan, Resync: o.resync, Log: log,
		Metrics: watch.NewMetrics(registry), Changed: func(s watch.Snapshot) { notify.changed(reportOf(s)) },
		About: state.Agent{Host: c.Host, Boot: host.reporter.Identity.Boot, Version: version, Paths: paths},
	}
	known := func() report.Agent { return reportOf(agent.Snapshot()) }
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), page.Collector(known))
	handler := page.Handler(page.Config{Report: known, Alive: agent.Alive, Metrics: registry, Loopback: loopback})
	return serve(ctx, listener, log, handler, func(ctx context.Context) {
		defer context.AfterFunc(ctx, notify.stopping)()
		var waking sync.WaitGroup
		waking.Go(func() { specs.Run(ctx) })
		waking.Go(func() { host.events(ctx, log, wakes) })
		waking.Go(func() { reloads(ctx, notify, wakes) })
		waking.Go(func() { notify.watchdog(ctx, agent.Alive) })
		agent.Run(ctx)
		waking.Wait()
	})
}

// reportOf is what people read about an agent.
func reportOf(s watch.Snapshot) report.Agent {
	return report.OfAgent(s.Agent, s.Observed, s.Recent, containerd.Started)
}

// absolute makes paths absolute: they stay valid whatever the working directory is.
func absolute(paths []string) ([]string, error) {
	all := make([]string, len(paths))
	for i, path := range paths {
		if path == "-" {
			return nil, errors.New("- cannot be watched (give files and folders)")
		}
		var err error
		if all[i], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// listenAt listens at the address of an agent's page; the listener is nil when the
// agent does not listen.
func listenAt(address string) (l net.Listener, loopback bool, err error) {
	if address == nowhere || address == "" {
		return nil, true, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false, fmt.Errorf("--listen %s: %w (give an address such as 127.0.0.1:9473, or none)", address, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err = net.Listen("tcp", net.JoinHostPort(host, port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, false, fmt.Errorf("--listen %s: the address is in use, perhaps by another agent (choose another address, or none)", address)
	case err != nil:
		return nil, false, fmt.Errorf("--listen %s: %w", address, err)
	}
	bound, ok := l.Addr().(*net.TCPAddr)
	return l, ok && bound.IP.IsLoopback(), nil
}

// The time limits of the page, for clients that never finish.
const (
	headerTimeout = 5 * time.Second
	answerTimeout = 30 * time.Second
	closeTimeout  = time.Second
)

// serve serves the page while run runs.
func serve(ctx context.Context, l net.Listener, log *slog.Logger, handler http.Handler, run func(context.Context)) error {
	if l == nil {
		run(ctx)
		return nil
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, WriteTimeout: answerTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	log.Info("listening", "address", "http://"+l.Addr().String())
	run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		_ = server.Close() // requests that still run have had their time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listening at %s: %w", l.Addr(), err)
	}
	return nil
}

// wake wakes an agent, unless it has ended.
func wake(ctx context.Context, wakes chan<- watch.Wake, w watch.Wake) {
	select {
	case wakes <- w:
	case <-ctx.Done():
	}
}

// reloads wakes the agent at each SIGHUP.
func reloads(ctx context.Context, notify *systemd, wakes chan<- watch.Wake) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			notify.reloading()
			wake(ctx, wakes, watch.Wake{Kind: watch.Reload, Text: "SIGHUP"})
		}
	}
}
