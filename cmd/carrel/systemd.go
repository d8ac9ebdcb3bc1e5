package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"carrel/plan/report"
)

// systemd reports the state of the agent to systemd, as sd_notify(3) describes
// it. Without systemd it does nothing.
type systemd struct {
	log *slog.Logger

	mu     sync.Mutex
	ready  bool      // systemd knows that the agent is ready
	since  time.Time // when a reload began that has not ended; zero when none runs
	status string    // the last one that was sent
}

// changed takes a new report. It sends READY after the first sync and after the
// first one that follows a reload, and one line for systemctl status.
func (s *systemd) changed(r report.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	synced := r.Trouble != "" || !r.SyncedAt.IsZero()
	if !s.ready && synced || !s.since.IsZero() && (r.Trouble != "" || r.SyncedAt.After(s.since)) {
		s.ready, s.since = true, time.Time{}
		s.notify(daemon.SdNotifyReady)
	}
	if status := statusLine(r); status != s.status {
		s.status = status
		s.notify("STATUS=" + status)
	}
}

// statusLine is an agent in one line.
func statusLine(r report.Agent) string {
	if r.Trouble != "" {
		return r.Trouble
	}
	running := 0
	for _, w := range r.Workspaces {
		if w.Running {
			running++
		}
	}
	return fmt.Sprintf("%d of %s running, %d pending, %d waiting, %s",
		running, count(len(r.Workspaces), "workspace"), len(r.Pending), len(r.Waiting), count(len(r.Errors), "error"))
}

func (s *systemd) reloading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
	s.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (s *systemd) stopping() { s.notify(daemon.SdNotifyStopping) }

// watchdog notifies systemd, as often as it asks for, while the agent is alive.
func (s *systemd) watchdog(ctx context.Context, alive func() bool) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("systemd's watchdog", "error", err)
	}
	if every == 0 {
		return
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if alive() {
				s.notify(daemon.SdNotifyWatchdog)
			}
		}
	}
}

func (s *systemd) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd was not notified", "error", err)
	}
}
