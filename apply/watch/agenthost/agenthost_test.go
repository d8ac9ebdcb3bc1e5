package agenthost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/apply/watch"
	"carrel/apply/watch/agenthost"
	"carrel/plan/state"
)

// store is a store in memory that keeps the calls that were made to it, as lines.
type store struct {
	local  bool // not shared
	agents []state.Agent
	writes time.Duration    // that writing an observation takes
	errs   map[string]error // of a call, by the first word of its line
	calls  []string
}

func (s *store) call(line string) error {
	s.calls = append(s.calls, line)
	word, _, _ := strings.Cut(line, " ")
	return s.errs[word]
}

func (s *store) Shared() bool { return !s.local }

func (s *store) AgentsOf(_ context.Context, host string) ([]state.Agent, error) {
	if err := s.errs["read"]; err != nil {
		return nil, err
	}
	var all []state.Agent
	for _, a := range s.agents {
		if a.Host == host {
			all = append(all, a)
		}
	}
	return all, nil
}

func (s *store) SaveAgent(_ context.Context, a state.Agent) error { return s.call("report " + a.Set) }

func (s *store) DeleteAgent(_ context.Context, host, set string) error {
	return s.call("delete " + host + "/" + set)
}

func (s *store) SaveObservation(_ context.Context, observed state.State) error {
	time.Sleep(s.writes) // of the fake clock
	return s.call("observation " + observed.Time.UTC().Format(time.TimeOnly))
}

func (s *store) Trim(_ context.Context, history, agents time.Time) error {
	now := time.Now()
	return s.call(fmt.Sprintf("trim %.0f %.0f", now.Sub(history).Hours()/24, now.Sub(agents).Hours()/24))
}

// take gives the calls, and forgets them.
func (s *store) take() string {
	calls := strings.Join(s.calls, ", ")
	s.calls = nil
	return calls
}

// identity is this machine: host h, boot one. An agent is gone a minute after its report.
var identity = agenthost.Identity{Host: "h", Boot: "one", Gone: func(a state.Agent, now time.Time) bool {
	return now.Sub(a.SeenAt) > time.Minute
}}

// bubble runs a test with a fake clock: time.Sleep passes at once.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func TestOneMachineAName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		now := time.Now()
		other := state.Agent{Host: "h", Boot: "two", Set: "s", SeenAt: now}
		own, old, elsewhere := other, other, other
		own.Boot, old.Boot, elsewhere.Host = "one", "", "other"
		unknown := identity
		unknown.Boot = ""
		for name, test := range map[string]struct {
			identity agenthost.Identity
			store    *store
			taken    bool
		}{
			"another machine runs":        {identity, &store{agents: []state.Agent{own, other}}, true},
			"the own agent before":        {identity, &store{agents: []state.Agent{own}}, false},
			"the boot was not reported":   {identity, &store{agents: []state.Agent{old}}, false},
			"another host":                {identity, &store{agents: []state.Agent{elsewhere}}, false},
			"the own boot is unknown":     {unknown, &store{agents: []state.Agent{other}}, false},
			"only this host uses a store": {identity, &store{agents: []state.Agent{other}, local: true}, false},
		} {
			err := test.identity.Check(t.Context(), test.store)
			var taken *agenthost.NameTakenError
			if errors.As(err, &taken) != test.taken || !test.taken && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		s := &store{agents: []state.Agent{other}}
		want := "another machine has the host name h in this store, and its agent of set s runs (give each machine a name of its own with --host)"
		if err := identity.Check(t.Context(), s); err == nil || err.Error() != want {
			t.Errorf("error: %v", err)
		}
		time.Sleep(time.Minute + time.Second)
		if err := identity.Check(t.Context(), s); err != nil {
			t.Errorf("after the other agent is gone: %v", err)
		}
		broken := errors.New("the store is away")
		if err := identity.Check(t.Context(), &store{errs: map[string]error{"read": broken}}); !errors.Is(err, broken) {
			t.Errorf("when the store cannot be read: %v", err)
		}
	})
}

func TestNothingIsReportedUnderTheNameOfAnotherMachine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &store{agents: []state.Agent{{Host: "h", Boot: "two", Set: "s", SeenAt: time.Now()}}}
		r := &agenthost.Reporter{Identity: identity}
		var taken *agenthost.NameTakenError
		if err := r.Report(t.Context(), s, state.Agent{Host: "h", Set: "s"}, state.State{Time: time.Now()}); !errors.As(err, &taken) {
			t.Errorf("error: %v", err)
		}
		if got := s.take(); got != "" {
			t.Errorf("it wrote %s", got)
		}
	})
}

// reporting is a reporter that has reported once, and its store.
func reporting(t *testing.T, writes time.Duration) (*agenthost.Reporter, *store) {
	t.Helper()
	r, s := &agenthost.Reporter{Identity: identity}, &store{writes: writes, errs: map[string]error{}}
	observed := state.State{Time: time.Now()}
	report(t, r, s, observed, "report s, observation 00:00:00, trim 365 30")
	return r, s
}

// report reports, and checks what is written to the store.
func report(t *testing.T, r *agenthost.Reporter, s *store, observed state.State, want string) {
	t.Helper()
	if err := r.Report(t.Context(), s, state.Agent{Host: "h", Set: "s"}, observed); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, s.take()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestObservationsArePaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, s := reporting(t, time.Second) // at 0:01 it has been written; 20 s of pause follow
		report(t, r, s, state.State{Time: time.Now()}, "report s")
		time.Sleep(19 * time.Second)
		report(t, r, s, state.State{Time: time.Now()}, "report s")
		time.Sleep(time.Second)
		observed := state.State{Time: time.Now()}
		report(t, r, s, observed, "report s, observation 00:00:21")
		time.Sleep(time.Minute)
		report(t, r, s, observed, "report s") // it was written already
		report(t, r, s, state.State{}, "report s")
	})
}

func TestAnObservationThatWasNotWrittenIsWrittenLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, s := reporting(t, time.Second)
		time.Sleep(time.Minute)
		observed := state.State{Time: time.Now()}
		full := errors.New("the store is full")
		s.errs["observation"] = full
		if err := r.Report(t.Context(), s, state.Agent{Host: "h", Set: "s"}, observed); !errors.Is(err, full) {
			t.Errorf("error: %v", err)
		}
		s.take()
		delete(s.errs, "observation")
		report(t, r, s, observed, "report s")
		time.Sleep(20 * time.Second)
		report(t, r, s, observed, "report s, observation 00:01:01")
	})
}

func TestTheStoreIsTrimmedOnceADay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, s := reporting(t, 0)
		time.Sleep(24*time.Hour - time.Second)
		report(t, r, s, state.State{}, "report s")
		time.Sleep(time.Second)
		report(t, r, s, state.State{}, "report s, trim 365 30")
		report(t, r, s, state.State{}, "report s")
	})
}

func TestASetThatIsRenamedLeavesNoReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, s := reporting(t, 0)
		away := errors.New("the store is away")
		s.errs["delete"] = away
		renamed := state.Agent{Host: "h", Set: "renamed"}
		if err := r.Report(t.Context(), s, renamed, state.State{}); !errors.Is(err, away) {
			t.Errorf("error: %v", err)
		}
		delete(s.errs, "delete")
		for range 2 {
			if err := r.Report(t.Context(), s, renamed, state.State{}); err != nil {
				t.Error(err)
			}
		}
		if got, want := s.take(), "report renamed, delete h/s, report renamed, delete h/s, report renamed"; got != want {
			t.Errorf("writes: %s, want %s", got, want)
		}
	})
}

func TestLastPending(t *testing.T) {
	pending := []state.Pending{{Workspace: "bot", Action: "delete", Why: "more than half"}}
	s := &store{agents: []state.Agent{{Host: "h", Set: "other"}, {Host: "h", Set: "s", Pending: pending}}, errs: map[string]error{}}
	for set, want := range map[string][]state.Pending{"s": pending, "other": nil, "new": nil} {
		got, err := agenthost.LastPending(t.Context(), s, "h", set)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", set, err, diff)
		}
	}
	s.errs["read"] = errors.New("the store is away")
	if _, err := agenthost.LastPending(t.Context(), s, "h", "s"); err == nil {
		t.Error("a store that cannot be read has no error")
	}
}

// server is what connections are made to. It counts them.
type server struct {
	mu             sync.Mutex // timers close connections
	opened, closed int
	err            error // of opening
	generation     int   // grows when the server is replaced
}

func (s *server) connection(log *bytes.Buffer) *agenthost.Connection[int] {
	return &agenthost.Connection[int]{
		Open: func(context.Context) (int, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.err == nil {
				s.opened++
			}
			return s.generation, s.err
		},
		Close: func(int) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closed++
			return errors.New("closing")
		},
		Replaced: func(generation int) bool { return generation != s.generation },
		Log:      slog.New(slog.NewTextHandler(log, nil)),
	}
}

func (s *server) expect(t *testing.T, opened, closed int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != opened || s.closed != closed {
		t.Errorf("opened %d times, closed %d times, want %d and %d", s.opened, s.closed, opened, closed)
	}
}

func TestConnectionIsOpenedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &server{err: errors.New("nobody answers")}
		c := s.connection(&log)
		if _, err := c.Get(t.Context()); !errors.Is(err, s.err) {
			t.Errorf("error: %v", err)
		}
		s.err = nil
		for _, use := range []func(context.Context) (int, error){c.Get, c.Renew, c.Get} {
			if got, err := use(t.Context()); got != 0 || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
		}
		s.expect(t, 1, 0)
		s.generation = 1
		if got, err := c.Get(t.Context()); got != 0 || err != nil { // calls that go on keep what they have
			t.Errorf("got %d, %v", got, err)
		}
		if got, err := c.Renew(t.Context()); got != 1 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
		s.expect(t, 2, 0)
		time.Sleep(2 * time.Minute)
		synctest.Wait() // for the timer
		s.expect(t, 2, 1)
		if !strings.Contains(log.String(), "error=closing") {
			t.Errorf("log: %s", log.String())
		}
	})
}

func TestConnectionIsShut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &server{}
		c := s.connection(&bytes.Buffer{})
		if err := c.Shut(); err != nil {
			t.Errorf("one that was never opened: %v", err)
		}
		for range 2 {
			if _, err := c.Renew(t.Context()); err != nil {
				t.Error(err)
			}
			s.generation++
		}
		if err := c.Shut(); err == nil || strings.Count(err.Error(), "closing") != 2 {
			t.Errorf("error: %v", err)
		}
		s.expect(t, 2, 2)
		time.Sleep(time.Hour)
		synctest.Wait()
		s.expect(t, 2, 2) // the retired one is closed once
	})
}

func TestSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began, ctx := time.Now(), t.Context()
		ctx, cancel := context.WithCancel(ctx)
		var attempts, wakes []string
		subscription := func(_ context.Context, event func(watch.Wake)) error {
			attempts = append(attempts, time.Since(began).String())
			switch len(attempts) {
			case 9: // the engine is back, and goes away a minute later
				event(watch.Wake{Kind: watch.Connected})
				time.Sleep(time.Minute)
			case 11:
				cancel()
			}
			return errors.New("nobody answers")
		}
		agenthost.Subscribe(ctx, slog.New(slog.DiscardHandler), subscription, func(w watch.Wake) {
			wakes = append(wakes, fmt.Sprintf("%s %s: %s", time.Since(began), w.Kind, w.Text))
		})
		want := []string{"0s", "100ms", "300ms", "700ms", "1.5s", "3.1s", "6.3s", "11.3s", "16.3s", "1m16.4s", "1m16.6s"}
		if diff := cmp.Diff(want, attempts); diff != "" {
			t.Errorf("subscriptions (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"16.3s connected: ", "1m16.3s event: the engine went away"}, wakes); diff != "" {
			t.Errorf("wakes (-want +got):\n%s", diff)
		}
	})
}
