package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"carrel/plan/report"

	"github.com/coreos/go-systemd/v22/daemon"
)

// systemd is told how the agent is, as sd_notify(3) describes it. Without
// systemd nobody is told.
type systemd struct {
	log *slog.Logger

	mu     sync.Mutex
	ready  bool
	since  time.Time // of a reload that has not ended
	status string
}

// changed tells of a new report: that the agent has looked for the first time,
// or again after it was told to reload, and one line for systemctl status.
func (s *systemd) changed(r report.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	looked := r.Trouble != "" || !r.SyncedAt.IsZero()
	if !s.ready && looked || !s.since.IsZero() && (r.Trouble != "" || r.SyncedAt.After(s.since)) {
		s.ready, s.since = true, time.Time{}
		s.tell(daemon.SdNotifyReady)
	}
	if status := statusLine(r); status != s.status {
		s.status = status
		s.tell("STATUS=" + status)
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
		running, count(len(r.Workspaces), "workspace"), len(r.Pending), len(r.Waiting), count(len(r.Errors), "fault"))
}

func (s *systemd) reloading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
	s.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (s *systemd) stopping() { s.tell(daemon.SdNotifyStopping) }

// watchdog tells systemd, as often as it wants, that the agent is alive.
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
				s.tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}

func (s *systemd) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd was not told", "error", err)
	}
}
