package apply_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"carrel/drivers/drivertest/memory"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

func TestFailedReplaceBringsDiscardedDataBack(t *testing.T) {
	w := newWorld(t)
	w.wish(with("agent:v1", forgets))
	w.mustApply()
	w.Write("bot", "work", "done")
	w.wish(with("exits:v1", forgets))
	if err := w.apply(); err == nil || !strings.Contains(err.Error(), "the previous spec was brought back") {
		t.Errorf("error: %v", err)
	}
	for _, want := range []string{`image agent:v1@sha256:v1, task "running"`, "volume bot: map[seed:v1 work:done]"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("the host has no %q:\n%s", want, w)
		}
	}
	if strings.Contains(w.String(), "trash") {
		t.Errorf("the trash was not emptied:\n%s", w)
	}
}

func TestNetworksAreMended(t *testing.T) {
	w := newWorld(t)
	w.wish(with("agent:v1", publishing(80)))
	w.mustApply()
	order := w.String()
	for _, namespace := range []bool{false, true} {
		w.Break("bot", namespace)
		if p := w.plan(); len(p.Changes) != 1 {
			t.Errorf("a broken network is not seen:\n%s", report.OfPlan(p).Text())
		}
		w.mustApply()
		w.settled(order)
	}
	w.run(plan.Stop(w.Observe(w.want), "bot"))
	if strings.Contains(w.String(), "network of bot") {
		t.Errorf("a stopped workspace has its address:\n%s", w)
	}
	w.run(plan.Start(w.Observe(w.want), "bot"))
	w.settled(order)
	w.run(plan.Restart(w.Observe(w.want), "bot"))
	w.settled(order)
}

func TestADeviceThatChangedIsGivenAnew(t *testing.T) {
	w := newWorld(t)
	w.Device("vendor.com/gpu=0", "1")
	w.wish(with("agent:v1", func(w *spec.Workspace) { w.Devices = []string{"vendor.com/gpu=0"} }))
	w.mustApply()
	w.Device("vendor.com/gpu=0", "2")
	if text := report.OfPlan(w.plan()).Text(); !strings.Contains(text, "what device vendor.com/gpu=0 resolves to: 1 -> 2") {
		t.Errorf("plan:\n%s", text)
	}
	w.mustApply()
	if p := w.plan(); !p.Empty() {
		t.Errorf("after the replace:\n%s", report.OfPlan(p).Text())
	}
}

// run carries out a plan.
func (w *world) run(p plan.Plan, err error) {
	w.t.Helper()
	if err == nil {
		err = w.runner().Run(w.t.Context(), p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// verbs are what a person does to the data of a workspace whose volume holds
// v1's work, and that has data preserved from before.
var verbs = map[string]struct {
	verb func(state.State) (plan.Plan, error)
	want string // the volume afterwards
}{
	"restore": {func(now state.State) (plan.Plan, error) { return plan.Restore(now, "bot", "") }, "volume bot: map[before:x]"},
	"import":  {func(now state.State) (plan.Plan, error) { return plan.Import(now, "bot", "/backup.tar") }, "volume bot: map[backup:y]"},
	"discard": {func(now state.State) (plan.Plan, error) { return plan.Discard(now, "bot", "") }, "volume bot: map[seed:v1 work:done]"},
}

func newWorldWithData(t *testing.T) *world {
	w := newWorld(t)
	w.wish(workspace("bot", "agent:v1"))
	w.mustApply()
	w.Write("bot", "work", "done")
	w.Keep("bot", map[string]string{"before": "x"})
	w.Folder("/backup.tar", map[string]string{"backup": "y"})
	return w
}

func TestDataVerbs(t *testing.T) {
	for name, verb := range verbs {
		t.Run(name, func(t *testing.T) {
			w := newWorldWithData(t)
			w.run(verb.verb(w.Observe(w.want)))
			if !strings.Contains(w.String(), verb.want) || !strings.Contains(w.String(), `task "running"`) {
				t.Errorf("the host has no %q, or does not run:\n%s", verb.want, w)
			}
			if kept := strings.Contains(w.String(), "preserved bot: map[seed:v1 work:done]"); kept == (name == "discard") {
				t.Errorf("what was there before:\n%s", w)
			}
			if p := w.plan(); !p.Empty() {
				t.Errorf("there is something to do:\n%s", report.OfPlan(p).Text())
			}
			history := w.History()
			if last := history[len(history)-1]; last.Step != "note in the history of bot" || last.Reason != "" {
				t.Errorf("the history ends with %+v", last)
			}
		})
	}
}

// TestDataVerbsLoseNothing makes every driver call fail. Whatever happened, the
// workspace runs after the next apply, and all data is somewhere.
func TestDataVerbsLoseNothing(t *testing.T) {
	for name, verb := range verbs {
		for _, kind := range []string{"did nothing", "did it but reported failure", "crashed before", "crashed after"} {
			for at := 0; ; at++ {
				w := newWorldWithData(t)
				p, err := verb.verb(w.Observe(w.want))
				if err != nil {
					t.Fatal(err)
				}
				w.fault = &fault{at: at, kind: kind}
				err = w.runner().Run(t.Context(), p)
				if !w.fault.struck {
					break
				}
				if err == nil {
					t.Errorf("%s, call %d %s: the run went well", name, at, kind)
				}
				w.fault = nil
				w.mustApply()
				text := w.String()
				for _, data := range []string{"work:done", "before:x", `task "running"`} {
					if !strings.Contains(text, data) && (name != "discard" || data != "before:x") {
						t.Errorf("%s, call %d %s: there is no %s:\n%s", name, at, kind, data, text)
					}
				}
				if p := w.plan(); !p.Empty() || strings.Contains(text, "trash") {
					t.Errorf("%s, call %d %s: not at rest:\n%s%s", name, at, kind, report.OfPlan(p).Text(), text)
				}
			}
		}
	}
}

func TestDataVerbsSayWhatIsWrong(t *testing.T) {
	w := newWorldWithData(t)
	for _, test := range []struct {
		plan func() (plan.Plan, error)
		want string
	}{
		{func() (plan.Plan, error) { return plan.Restore(w.Observe(w.want), "none", "") }, "no data of none is preserved (carrel data ls lists all)"},
		{func() (plan.Plan, error) { return plan.Restore(w.Observe(w.want), "bot", "2020-01-01T00:00:00Z") },
			"no data of bot was preserved at 2020-01-01T00:00:00Z (there is 20"},
	} {
		if _, err := test.plan(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %q", err, test.want)
		}
	}
}

// fullStore is a store on a full disk.
type fullStore struct{ *memory.Host }

var errFull = &plan.UnwrittenError{Err: errors.New("the disk is full")}

func (fullStore) SaveRecord(context.Context, plan.SaveRecord, []state.Entry) error   { return errFull }
func (fullStore) NoteHistory(context.Context, plan.NoteHistory, []state.Entry) error { return errFull }
func (fullStore) DeleteRecord(context.Context, plan.DeleteRecord, []state.Entry) error {
	return errFull
}
func (fullStore) SaveFailure(context.Context, state.Failure, []state.Entry) error { return errFull }

// What a person asks for by name is done although it cannot be written down; an apply
// is not.
func TestAFullStore(t *testing.T) {
	w := newWorld(t)
	w.wish(workspace("bot", "agent:v1"))
	w.mustApply()
	runner := w.runner()
	runner.Records = fullStore{w.Host}
	for _, test := range []struct {
		name  string
		plan  func(state.State, ...string) (plan.Plan, error)
		want  string
		after string
	}{
		{"stop", plan.Stop, "bot: record bot as stopped by user: the disk is full; the stop was carried out all the same, and an agent or the next apply may undo it (run the command again when the store can be written)", `task ""`},
		{"start", plan.Start, "bot: record bot: the disk is full; the start was carried out all the same, and an agent or the next apply may undo it (run the command again when the store can be written)", `task "running"`},
		{"delete", plan.Delete, "bot: remove the record of bot: the disk is full", "preserved bot: map[seed:v1]"},
	} {
		p, err := test.plan(w.Observe(w.want), "bot")
		if err != nil {
			t.Fatal(err)
		}
		if err := runner.Run(t.Context(), p); err == nil || err.Error() != test.want {
			t.Errorf("%s: error %v", test.name, err)
		}
		if !strings.Contains(w.String(), test.after) {
			t.Errorf("%s: the host has no %s:\n%s", test.name, test.after, w)
		}
	}
}
