package watch_test

import (
	"carrel/plan/decide"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/apply/watch"
	"carrel/drivers/drivertest/memory"
	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

func TestFilesAreApplied(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.said(`
0s watching paths=[/specs] host=h resync=5m0s
0s image fetched image=agent:v1
0s change done workspace=bot action=create because=new`)
		b.runs("bot", true)
		b.wish(workspace("bot", "agent:v2"))
		b.said(`
1s image fetched image=agent:v2
1s change done workspace=bot action=replace because=image changed`)
		b.wish(workspace("bot", "agent:v2"))
		b.pass(time.Hour)
		b.said("")
		b.wish(workspace("bot", "agent:v2"), workspace("other", "agent:v2"))
		b.since()
		b.wish(workspace("other", "agent:v2"))
		b.said(`1h0m4s change done workspace=bot action=delete because=no spec describes it any more`)
	})
}

func TestADeadTaskRunsAgainAtOnceAndBacksOff(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		b.since()
		var waited []time.Duration
		for range 12 {
			died := time.Now()
			b.die("bot")
			for status := b.bot(); !status.Running; status = b.bot() {
				if w := b.agent.Snapshot().Agent.Waiting; time.Since(died) > 200*time.Millisecond && len(w) != 1 {
					t.Fatalf("after %s nothing says that bot waits: %+v", time.Since(died), w)
				}
				b.pass(100 * time.Millisecond)
			}
			waited = append(waited, time.Since(died).Round(time.Second))
			b.runs("other", true)
			b.pass(time.Second)
		}
		want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, waited); diff != "" {
			t.Errorf("it ran again after (-want +got):\n%s", diff)
		}
		if got := b.reported("bot").Restarts; got != 12 {
			t.Errorf("the report has %d restarts", got)
		}
		b.pass(10 * time.Minute)
		b.since()
		b.die("bot")
		b.pass(0)
		b.runs("bot", true)
	})
}

func TestADeathIsSeenWithoutAnEvent(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.Die("bot", 1)
		b.pass(5 * time.Minute)
		b.runs("bot", true)
	})
}

func TestCrashLoopKeepsNobodyWaiting(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("exits", "exits:v1"), workspace("bot", "agent:v1"))
		b.pass(10 * time.Minute)
		b.die("bot")
		b.runs("bot", true)
		w := b.agent.Snapshot().Agent.Waiting
		if len(w) != 1 || w[0].Workspace != "exits" || w[0].Attempts < 8 || !strings.Contains(w[0].Why, "the task exited 3 at once") {
			t.Errorf("what waits: %+v", w)
		}
	})
}

func TestASlowChangeKeepsNobodyWaiting(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("slow", "agent:v1"), workspace("bot", "agent:v1"))
		stopping := make(chan struct{})
		b.mu.Lock()
		b.slow["slow"] = stopping
		b.mu.Unlock()
		b.wish(workspace("slow", "agent:v2"), workspace("bot", "agent:v1"))
		if got := b.agent.Snapshot().Agent.Working; len(got) != 1 || got[0] != "slow" {
			t.Errorf("it works on %v", got)
		}
		b.since()
		b.die("bot")
		b.runs("bot", true)
		b.die("slow") // it is being replaced: nothing else is done to it
		b.pass(time.Minute)
		b.said("2s change done workspace=bot action=start because=exited 137")
		close(stopping)
		b.pass(time.Second)
		b.runs("slow", true)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.held {
			t.Error("the lock is kept when nothing is done any more")
		}
	})
}

func TestTheEndOfARoundFreesNothingOfTheNextOne(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("slow", "agent:v1"), workspace("bot", "agent:v1"))
		slowStops, botStops := make(chan struct{}), make(chan struct{})
		b.mu.Lock()
		b.slow["slow"] = slowStops
		b.mu.Unlock()
		b.wish(workspace("slow", "agent:v2"), workspace("bot", "agent:v2"))
		b.mu.Lock()
		b.slow["bot"] = botStops
		b.mu.Unlock()
		b.wish(workspace("slow", "agent:v2"), workspace("bot", "agent:v3"))
		b.since()
		close(slowStops) // the round that both began in ends; bot is in another one now
		b.pass(time.Second)
		if got := b.agent.Snapshot().Agent.Working; len(got) != 1 || got[0] != "bot" {
			t.Errorf("it works on %v", got)
		}
		close(botStops)
		b.pass(time.Second)
		b.said(`
3s change done workspace=slow action=replace because=image changed
4s change done workspace=bot action=replace because=image changed`)
	})
}

func TestAnImageThatCannotBeFetchedDisturbsNothing(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.wish(workspace("bot", "later:v1"), workspace("other", "agent:v1"))
		b.pass(20 * time.Second)
		b.runs("bot", true)
		b.runs("other", true)
		w := b.agent.Snapshot().Agent.Waiting
		if len(w) != 1 || w[0].Image != "later:v1" || w[0].Attempts != 5 || !strings.Contains(w[0].Why, "was not found") {
			t.Errorf("what waits: %+v", w)
		}
		b.mu.Lock()
		if len(b.pulled) != 6 {
			t.Errorf("images were fetched: %v", b.pulled)
		}
		b.mu.Unlock()
		b.Publish("later:v1", memory.Image{Digest: "sha256:later"})
		b.since()
		b.pass(30 * time.Second)
		b.said(`
32s image fetched image=later:v1
32s change done workspace=bot action=replace because=image changed`)
	})
}

func TestAnImageThatNobodyWantsAnyMoreIsForgotten(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "later:v1"))
		b.pass(time.Hour)
		b.wish(workspace("bot", "agent:v1"))
		b.pass(time.Hour)
		b.wish(workspace("bot", "later:v1"))
		if w := b.agent.Snapshot().Agent.Waiting; len(w) != 1 || w[0].Attempts != 1 {
			t.Errorf("what waits: %+v", w)
		}
	})
}

func TestATagThatMovesIsFollowed(t *testing.T) {
	inBubble(t, func(b *bed) {
		w := workspace("bot", "agent:v1")
		w.ImagePullPolicy = spec.PullAlways
		b.wish(w)
		b.Publish("agent:v1", memory.Image{Digest: "sha256:moved"})
		b.since()
		b.pass(5*time.Minute + time.Second)
		b.said(`
5m1s image fetched image=agent:v1
5m1s change done workspace=bot action=replace because=image digest changed`)
		b.pass(time.Hour)
		b.said("")
	})
}

func TestDangerIsLeftToAPerson(t *testing.T) {
	inBubble(t, func(b *bed) {
		var all []spec.Workspace
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			all = append(all, workspace(name, "agent:v1"))
		}
		all[4].PreserveData = spec.PreserveNever
		b.wish(all...)
		b.since()
		b.wish(append([]spec.Workspace{workspace("a", "agent:v2")}, all[3])...)
		b.pass(time.Hour)
		b.said(`
1s left to a person workspace=b action=delete because=more than half of the set would be deleted (check the specs, or carrel apply /specs --allow-mass-delete)
1s left to a person workspace=c action=delete because=more than half of the set would be deleted (check the specs, or carrel apply /specs --allow-mass-delete)
1s left to a person workspace=e action=delete because=it deletes data (carrel apply /specs --allow-data-loss does it)
1s image fetched image=agent:v2
1s change done workspace=a action=replace because=image changed`)
		if got := b.agent.Snapshot().Agent.Pending; len(got) != 3 {
			t.Errorf("pending: %+v", got)
		}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			b.runs(name, true)
		}
	})
}

func TestWhatWasRolledBackIsLeftToAPerson(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.since()
		b.wish(workspace("bot", "exits:v1"))
		b.pass(time.Hour)
		log := b.since()
		if strings.Count(log, "change failed") != 1 || strings.Count(log, "left to a person") != 1 {
			t.Errorf("log:\n%s", log)
		}
		b.runs("bot", true)
		b.die("bot")
		b.pass(0)
		b.wish(workspace("bot", "agent:v2"))
		b.pass(time.Minute)
		b.runs("bot", true)
		if r := b.agent.Snapshot().Agent; len(r.Pending) != 0 || len(r.Waiting) != 0 {
			t.Errorf("after it was mended: %+v", r)
		}
	})
}

func TestAFaultStopsNoOther(t *testing.T) {
	inBubble(t, func(b *bed) {
		gpu := workspace("gpu", "agent:v1")
		gpu.Devices = []string{"vendor.com/gpu=0"}
		b.mu.Lock()
		b.loaded.Faults = []spec.Error{{Pos: spec.Pos{File: "b.yaml", Line: 3, Col: 5}, Msg: "it is wrong"}}
		b.mu.Unlock()
		b.wish(gpu, workspace("bot", "agent:v1"))
		b.pass(20 * time.Second)
		b.runs("bot", true)
		b.said(`
0s watching paths=[/specs] host=h resync=5m0s
0s not applied place=/specs/a.yaml fault=this host has no device "vendor.com/gpu=0" (it has none; searched )
0s not applied place=b.yaml:3:5 fault=it is wrong
0s image fetched image=agent:v1
0s change done workspace=bot action=create because=new`)
		if got := b.agent.Snapshot().Agent.Errors; len(got) != 2 || got[1].Position != "b.yaml:3:5" {
			t.Errorf("faults: %+v", got)
		}
		b.Device("vendor.com/gpu=0", "1")
		b.mu.Lock()
		b.loaded.Faults = nil
		b.mu.Unlock()
		b.pass(20 * time.Second)
		b.runs("gpu", true)
		b.pass(5 * time.Minute)
		if got := b.agent.Snapshot().Agent.Errors; len(got) != 0 {
			t.Errorf("faults: %+v", got)
		}
	})
}

func TestUnknownSpecsChangeNothing(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.mu.Lock()
		b.loaded.Known = false
		b.mu.Unlock()
		b.wish()
		b.pass(time.Hour)
		b.runs("bot", true)
	})
}

func TestContainerdGoesAndComes(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.since()
		b.mu.Lock()
		b.gone = errGone
		b.mu.Unlock()
		b.die("bot")
		b.pass(3 * time.Minute)
		if got := b.agent.Snapshot().Agent.Trouble; got != errGone.Error() {
			t.Errorf("trouble: %q", got)
		}
		b.mu.Lock()
		b.gone = nil
		b.mu.Unlock()
		b.pass(30 * time.Second)
		b.runs("bot", true)
		b.said(`
1s nothing can be done now because=containerd does not answer
3m2s going on
3m2s change done workspace=bot action=start because=exited 137 2 minutes ago`)
	})
}

func TestAnotherRunHasTheLock(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.since()
		b.mu.Lock()
		b.holder = "ann@h with carrel apply"
		b.mu.Unlock()
		b.die("bot")
		b.pass(time.Minute)
		b.runs("bot", false)
		b.mu.Lock()
		b.holder = ""
		b.mu.Unlock()
		b.pass(3 * time.Second)
		b.runs("bot", true)
		if log := b.since(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "another run is changing this host: ann@h with carrel apply") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestFilesSettle(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		before := b.count()
		for range 100 { // for 5 seconds
			b.wakes <- watch.Wake{Kind: watch.FilesChanged}
			b.pass(50 * time.Millisecond)
		}
		b.pass(time.Second)
		if got := b.count() - before; got != 3 {
			t.Errorf("files that changed for 5 seconds were read %d times", got)
		}
	})
}

func TestAskedForBeginsAnew(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		for range 8 {
			b.die("bot")
			b.pass(10 * time.Second)
		}
		b.runs("bot", false)
		b.wakes <- watch.Wake{Kind: watch.Asked, Text: "SIGHUP"}
		b.pass(time.Second)
		b.runs("bot", true)
	})
}

func TestAnEndWaitsForWhatWasBegunAndNotForEver(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		stopping := make(chan struct{})
		b.mu.Lock()
		b.slow["bot"] = stopping
		b.mu.Unlock()
		b.wish(workspace("bot", "agent:v2"), workspace("other", "agent:v1"))
		began := time.Now()
		b.end()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the agent took %s to end", took)
		}
		b.runs("other", true)
		close(stopping)
		b.pass(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		if last := b.told[len(b.told)-1]; last.Trouble != state.Stopped {
			t.Errorf("its last word: %+v", last)
		}
	})
}

func TestAFailedStartIsTriedAgainLater(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.mu.Lock()
		b.failing = func(plan.StartTask) error { return errors.New("its shim hangs") }
		b.mu.Unlock()
		b.die("bot")
		b.pass(time.Minute)
		b.runs("bot", false)
		if w := b.agent.Snapshot().Agent.Waiting; len(w) != 1 || w[0].Attempts != 6 || w[0].Why != "start bot: its shim hangs" {
			t.Errorf("what waits: %+v", w)
		}
		if s := b.reported("bot"); s.NextRetry == nil {
			t.Errorf("the report of bot: %+v", s)
		}
		b.mu.Lock()
		b.failing = nil
		b.mu.Unlock()
		b.pass(time.Minute)
		b.runs("bot", true)
	})
}

func (b *bed) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads
}

func (b *bed) bot() report.Status {
	for _, s := range report.Statuses(b.Observe(spec.Set{})) {
		if s.Workspace == "bot" {
			return s
		}
	}
	return report.Status{}
}

// reports are all workspaces as the report has them.
func (b *bed) reports() []report.Status {
	s := b.agent.Snapshot()
	return report.OfAgent(s.Agent, s.Observed, s.Recent, nil).Workspaces
}

// reported is a workspace as the report has it.
func (b *bed) reported(name string) report.Status {
	for _, s := range b.reports() {
		if s.Workspace == name {
			return s
		}
	}
	return report.Status{}
}

func TestWhatAPersonDoesIsNotUndoneWhileFilesChange(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		b.since()
		b.mu.Lock()
		b.loaded.Want.Workspaces = []spec.Workspace{workspace("other", "agent:v1")}
		b.mu.Unlock()
		b.wakes <- watch.Wake{Kind: watch.FilesChanged}
		b.Lose("bot") // carrel apply has done what the files say now
		b.Forget("bot")
		b.wakes <- watch.Wake{Kind: watch.Happened, Text: "container deleted", Container: "bot"}
		b.die("other")
		b.runs("other", true)
		b.pass(time.Minute)
		b.said("1s change done workspace=other action=start because=exited 137")
	})
}

func TestWhatIsSeenOfAChangeIsNotPlannedFrom(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		stopping := make(chan struct{})
		b.mu.Lock()
		b.slow["bot"], b.lasts = stopping, time.Second
		b.mu.Unlock()
		b.wish(workspace("other", "agent:v1"))
		b.pass(2 * time.Second)
		b.since()
		b.Lose("bot") // as its deletion does half-way
		b.die("other")
		close(stopping) // it ends while the host is looked at
		b.pass(time.Minute)
		b.said(`
4s change done workspace=bot action=delete because=no spec describes it any more
6s change done workspace=other action=start because=exited 137`)
	})
}

func TestASetIsNotDeletedBitByBit(t *testing.T) {
	inBubble(t, func(b *bed) {
		var all []spec.Workspace
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			all = append(all, workspace(name, "agent:v1"))
		}
		b.wish(all...)
		for i := range all {
			b.wish(all[i+1:]...)
			b.pass(30 * time.Second)
		}
		if got := len(b.agent.Snapshot().Agent.Pending); got != 4 {
			t.Errorf("%d of 8 deletions are left to a person:\n%s", got, b.since())
		}
		b.runs("h", true)
	})
}

// set is six workspaces, and others.
func set(more ...string) []spec.Workspace {
	var all []spec.Workspace
	for _, name := range append([]string{"a", "b", "c", "d", "e", "f"}, more...) {
		all = append(all, workspace(name, "agent:v1"))
	}
	return all
}

func TestWhatIsHeldStaysHeld(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(set()...)
		others := set("u", "v", "w", "x", "y", "z")[6:]
		b.wish(others...) // all are renamed at once: twelve are owned then
		b.pass(time.Hour)
		for _, w := range append(set(), others...) {
			b.runs(w.Name, true)
		}
		if got := len(b.agent.Snapshot().Agent.Pending); got != 6 {
			t.Errorf("%d deletions are left to a person", got)
		}
		b.wish(append(set(), others...)...)
		if got := len(b.agent.Snapshot().Agent.Pending); got != 0 {
			t.Errorf("%d deletions are left to a person that nobody wants", got)
		}
		b.wish(append(set()[1:], others...)...)
		if log := b.since(); !strings.Contains(log, "workspace=a action=delete") || strings.Contains(log, "workspace=b action=delete because=no spec") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestTheNextAgentHoldsWhatTheLastOneHeld(t *testing.T) {
	for _, left := range [][]state.Pending{nil, {{Workspace: "f", Action: string(decide.ActionDelete), Why: "more than half"}}} {
		inBubble(t, func(b *bed) {
			b.wish(set()...)
			b.end()
			b.mu.Lock()
			b.left = left
			b.mu.Unlock()
			b.again()
			b.wish(set()[:5]...)
			if got := len(b.agent.Snapshot().Agent.Pending); got != len(left) {
				t.Errorf("%d deletions are left to a person, with %v", got, left)
			}
		})
	}
}

func TestWhatIsHeldBackRunsOn(t *testing.T) {
	never := func(w spec.Workspace) spec.Workspace { w.PreserveData = spec.PreserveNever; return w }
	gpu := func(w spec.Workspace) spec.Workspace { w.Devices = []string{"vendor.com/gpu=0"}; return w }
	for name, wishes := range map[string][2]spec.Workspace{
		"it would lose data":      {never(workspace("bot", "agent:v1")), never(workspace("bot", "agent:v2"))},
		"its image cannot be had": {workspace("bot", "agent:v1"), workspace("bot", "none:v1")},
		"it was rolled back":      {workspace("bot", "agent:v1"), workspace("bot", "exits:v1")},
		"it has a fault":          {workspace("bot", "agent:v1"), gpu(workspace("bot", "agent:v1"))},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.wish(wishes[0])
				b.wish(wishes[1])
				b.pass(time.Minute)
				b.die("bot")
				b.pass(0)
				b.runs("bot", true)
				b.since()
				for range 5 { // it backs off as all do
					b.die("bot")
					b.pass(time.Second)
				}
				b.runs("bot", false)
				b.pass(time.Minute)
				b.runs("bot", true)
				if s := b.reported("bot"); s.Restarts < 4 {
					t.Errorf("the report has %d restarts", s.Restarts)
				}
			})
		})
	}
}

func TestAFileWithAFaultOfTheHostDisturbsNothing(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("a", "agent:v1"), workspace("b", "agent:v1"), workspace("c", "agent:v1"))
		b.since()
		half := workspace("a", "agent:v1")
		half.Devices = []string{"vendor.com/gpu=0"}
		b.wish(half, workspace("b", "agent:v2"), workspace("new", "agent:v1"))
		b.pass(time.Hour)
		log := b.since()
		if strings.Contains(log, "action=replace because=image") || strings.Contains(log, "change done workspace=c") || !strings.Contains(log, "change done workspace=new action=create") {
			t.Errorf("log:\n%s", log)
		}
		if got := len(b.agent.Snapshot().Agent.Pending); got != 2 {
			t.Errorf("%d changes wait for the file to be mended", got)
		}
	})
}

func TestWhatIsHeldStaysHeldWhileItIsStarted(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(set()...)
		b.wish(set("u", "v", "w", "x", "y", "z")[6:]...)
		starting := make(chan struct{})
		b.mu.Lock()
		b.failing = func(plan.StartTask) error { <-starting; return nil }
		b.mu.Unlock()
		b.die("a")
		b.die("b") // the host is looked at while a is started
		b.pass(time.Second)
		close(starting)
		b.pass(time.Hour)
		for _, w := range set() {
			b.runs(w.Name, true)
		}
	})
}

func TestWhatWasHeldBackBacksOffAfterwardsToo(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.wish(workspace("bot", "agent:v1"))
		b.wish(workspace("bot", "none:v1"))
		b.die("bot")
		b.wish(workspace("bot", "agent:v1")) // as before
		for range 5 {
			b.die("bot")
			b.pass(time.Second)
		}
		b.runs("bot", false)
		b.pass(time.Minute)
		b.runs("bot", true)
	})
}
