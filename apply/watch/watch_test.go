package watch_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/apply/watch"
	"carrel/drivers/drivertest/memory"
	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
	"carrel/spec"
)

func TestFilesAreApplied(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.expectLog(`
0s watching paths=[/specs] host=h resync=5m0s
0s image pulled image=agent:v1
0s change done workspace=bot action=create reason=new`)
		b.expectRunning("bot", true)
		b.specs(workspace("bot", "agent:v2"))
		b.expectLog(`
1s image pulled image=agent:v2
1s change done workspace=bot action=replace reason=image changed`)
		b.specs(workspace("bot", "agent:v2"))
		b.advance(time.Hour)
		b.expectLog("")
		b.specs(workspace("bot", "agent:v2"), workspace("other", "agent:v2"))
		b.takeLog()
		b.specs(workspace("other", "agent:v2"))
		b.expectLog(`1h0m4s change done workspace=bot action=delete reason=no spec describes it any more`)
	})
}

func TestADeadTaskIsRestartedAtOnceAndBacksOff(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		b.takeLog()
		var waited []time.Duration
		for range 12 {
			died := time.Now()
			b.kill("bot")
			for s := b.observedStatus("bot"); !s.Running; s = b.observedStatus("bot") {
				if w := b.agent.Snapshot().Agent.Waiting; time.Since(died) > 200*time.Millisecond && len(w) != 1 {
					t.Fatalf("after %s the report does not say that bot waits: %+v", time.Since(died), w)
				}
				b.advance(100 * time.Millisecond)
			}
			waited = append(waited, time.Since(died).Round(time.Second))
			b.expectRunning("other", true)
			b.advance(time.Second)
		}
		want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, waited); diff != "" {
			t.Errorf("it ran again after (-want +got):\n%s", diff)
		}
		if got := b.status("bot").Restarts; got != 12 {
			t.Errorf("the report has %d restarts", got)
		}
		b.advance(10 * time.Minute)
		b.takeLog()
		b.kill("bot")
		b.advance(0)
		b.expectRunning("bot", true)
	})
}

func TestADeadTaskIsFoundWithoutAnEvent(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.Die("bot", 1)
		b.advance(5 * time.Minute)
		b.expectRunning("bot", true)
	})
}

func TestACrashLoopDelaysNoOther(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("exits", "exits:v1"), workspace("bot", "agent:v1"))
		b.advance(10 * time.Minute)
		b.kill("bot")
		b.expectRunning("bot", true)
		w := b.agent.Snapshot().Agent.Waiting
		if len(w) != 1 || w[0].Workspace != "exits" || w[0].Attempts < 8 || !strings.Contains(w[0].Why, "the task exited 3 at once") {
			t.Errorf("what waits: %+v", w)
		}
	})
}

func TestASlowChangeDelaysNoOther(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("slow", "agent:v1"), workspace("bot", "agent:v1"))
		stopping := make(chan struct{})
		b.set(func() { b.slow["slow"] = stopping })
		b.specs(workspace("slow", "agent:v2"), workspace("bot", "agent:v1"))
		if got := b.agent.Snapshot().Agent.Working; len(got) != 1 || got[0] != "slow" {
			t.Errorf("it works on %v", got)
		}
		b.takeLog()
		b.kill("bot")
		b.expectRunning("bot", true)
		b.kill("slow") // it is being replaced: no other change of it begins
		b.advance(time.Minute)
		b.expectLog("2s change done workspace=bot action=start reason=exited 137")
		close(stopping)
		b.advance(time.Second)
		b.expectRunning("slow", true)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.locked {
			t.Error("the agent keeps the lock when no change runs any more")
		}
	})
}

func TestTheEndOfASyncDoesNotEndChangesOfTheNextOne(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("slow", "agent:v1"), workspace("bot", "agent:v1"))
		slowStops, botStops := make(chan struct{}), make(chan struct{})
		b.set(func() { b.slow["slow"] = slowStops })
		b.specs(workspace("slow", "agent:v2"), workspace("bot", "agent:v2"))
		b.set(func() { b.slow["bot"] = botStops })
		b.specs(workspace("slow", "agent:v2"), workspace("bot", "agent:v3"))
		b.takeLog()
		close(slowStops) // the sync that both changes began in ends; bot is changed by another one now
		b.advance(time.Second)
		if got := b.agent.Snapshot().Agent.Working; len(got) != 1 || got[0] != "bot" {
			t.Errorf("it works on %v", got)
		}
		close(botStops)
		b.advance(time.Second)
		b.expectLog(`
3s change done workspace=slow action=replace reason=image changed
4s change done workspace=bot action=replace reason=image changed`)
	})
}

func TestAnImageThatCannotBePulledDisturbsNothing(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.specs(workspace("bot", "later:v1"), workspace("other", "agent:v1"))
		b.advance(20 * time.Second)
		b.expectRunning("bot", true)
		b.expectRunning("other", true)
		w := b.agent.Snapshot().Agent.Waiting
		if len(w) != 1 || w[0].Image != "later:v1" || w[0].Attempts != 5 || !strings.Contains(w[0].Why, "was not found") {
			t.Errorf("what waits: %+v", w)
		}
		b.mu.Lock()
		if len(b.pulled) != 6 {
			t.Errorf("images were pulled: %v", b.pulled)
		}
		b.mu.Unlock()
		b.Publish("later:v1", memory.Image{Digest: "sha256:later"})
		b.takeLog()
		b.advance(30 * time.Second)
		b.expectLog(`
32s image pulled image=later:v1
32s change done workspace=bot action=replace reason=image changed`)
	})
}

func TestAttemptsAtAnImageThatIsNotNeededAreForgotten(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "later:v1"))
		b.advance(time.Hour)
		b.specs(workspace("bot", "agent:v1"))
		b.advance(time.Hour)
		b.specs(workspace("bot", "later:v1"))
		if w := b.agent.Snapshot().Agent.Waiting; len(w) != 1 || w[0].Attempts != 1 {
			t.Errorf("what waits: %+v", w)
		}
	})
}

// A registry that asks to wait is asked when it said, and not with a backoff.
func TestABusyRegistryIsAskedWhenItSaid(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.set(func() { b.busyUntil = b.began.Add(10*time.Minute + 5*time.Second) })
		b.specs(workspace("bot", "agent:v2"))
		b.takeLog()
		b.advance(time.Hour)
		b.expectLog(`
10m5s image pulled image=agent:v2
10m5s change done workspace=bot action=replace reason=image changed`)
		b.mu.Lock()
		defer b.mu.Unlock()
		if want := []string{"agent:v1", "agent:v2", "agent:v2"}; !slices.Equal(b.pulled, want) {
			t.Errorf("images were pulled: %v", b.pulled)
		}
	})
}

// A registry that did not tell what a tag points to is asked again, not before the
// time that it said.
func TestARegistryThatDidNotTellIsAskedAgain(t *testing.T) {
	withBed(t, func(b *bed) {
		w := workspace("bot", "agent:v1")
		w.ImagePullPolicy = spec.PullAlways
		b.set(func() { b.busyUntil = b.began.Add(90 * time.Second) })
		b.specs(w)
		b.advance(4 * time.Minute)
		b.mu.Lock()
		defer b.mu.Unlock()
		if want := []time.Duration{0, 200 * time.Millisecond, 90 * time.Second}; !slices.Equal(b.asked, want) {
			t.Errorf("registries were asked at %v", b.asked)
		}
	})
}

func TestATagThatMovesIsFollowed(t *testing.T) {
	withBed(t, func(b *bed) {
		w := workspace("bot", "agent:v1")
		w.ImagePullPolicy = spec.PullAlways
		b.specs(w)
		b.Publish("agent:v1", memory.Image{Digest: "sha256:moved"})
		b.takeLog()
		b.advance(5*time.Minute + time.Second)
		b.expectLog(`
5m1s image pulled image=agent:v1
5m1s change done workspace=bot action=replace reason=image digest changed`)
		b.advance(time.Hour)
		b.expectLog("")
	})
}

// TestWhatIsNotMadeIsReported checks that the agent reports each workspace that has no
// container yet, and why.
func TestWhatIsNotMadeIsReported(t *testing.T) {
	withBed(t, func(b *bed) {
		gpu := workspace("gpu", "agent:v1")
		gpu.Devices = []string{"vendor.com/gpu=0"}
		b.set(func() {
			b.loaded.Errors = []spec.Error{
				{Pos: spec.Pos{File: "/specs/c.yaml", Line: 3, Col: 5}, Msg: "it is wrong", Workspaces: []string{"c"}, Host: "h"},
				{Pos: spec.Pos{File: "/specs/d.yaml"}, Msg: "it is wrong", Workspaces: []string{"d"}, Host: "elsewhere"},
			}
		})
		b.specs(workspace("good", "agent:v1"), workspace("lost", "lost:v1"), gpu)
		for name, want := range map[string]string{
			"good": "running ", "d": " ",
			"lost": "waiting image lost:v1 was not found in its registry",
			"gpu":  "blocked /specs/a.yaml: this host has no device \"vendor.com/gpu=0\" (it has none; searched )",
			"c":    "blocked /specs/c.yaml:3:5: it is wrong",
		} {
			s := b.status(name)
			if got := string(s.State) + " " + s.Reason; got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if s := b.status("lost"); s.NextRetry == nil || s.Image != "lost:v1" {
			t.Errorf("lost: %+v", s)
		}
		b.Publish("lost:v1", memory.Image{Digest: "sha256:lost"})
		b.advance(10 * time.Minute)
		b.expectRunning("lost", true)
		if s := b.status("lost"); s.Reason != "" {
			t.Errorf("lost runs, and is %s: %s", s.State, s.Reason)
		}
	})
}

// TestALogLineHasAnErrorOnce checks that a failure which repeats itself is not logged as
// its own reason.
func TestALogLineHasAnErrorOnce(t *testing.T) {
	withBed(t, func(b *bed) {
		b.set(func() { b.startErr = func(plan.StartTask) error { return errors.New("the disk is full") } })
		b.specs(workspace("bot", "agent:v1"))
		b.advance(10 * time.Second)
		failures := 0
		for line := range strings.SplitSeq(b.takeLog(), "\n") {
			if strings.Contains(line, "change failed") {
				failures++
				if strings.Count(line, "the disk is full") != 1 {
					t.Errorf("the line %q has not its error once", line)
				}
			}
		}
		if failures < 2 {
			t.Errorf("%d changes failed", failures)
		}
	})
}

func TestDataLossAndMassDeleteNeedApproval(t *testing.T) {
	withBed(t, func(b *bed) {
		var all []spec.Workspace
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			all = append(all, workspace(name, "agent:v1"))
		}
		all[4].PreserveData = spec.PreserveNever
		b.specs(all...)
		b.takeLog()
		b.specs(append([]spec.Workspace{workspace("a", "agent:v2")}, all[3])...)
		b.advance(time.Hour)
		b.expectLog(`
1s needs approval workspace=b,c action=delete reason=more than half of the set would be deleted (check the specs; to approve it: carrel apply /specs --allow-mass-delete)
1s needs approval workspace=e action=delete reason=it deletes data (to approve it: carrel apply /specs --allow-data-loss)
1s image pulled image=agent:v2
1s change done workspace=a action=replace reason=image changed`)
		if got := b.agent.Snapshot().Agent.Pending; len(got) != 3 {
			t.Errorf("pending: %+v", got)
		}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			b.expectRunning(name, true)
		}
	})
}

func TestAChangeThatWasRolledBackNeedsApproval(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.takeLog()
		b.specs(workspace("bot", "exits:v1"))
		b.advance(time.Hour)
		log := b.takeLog()
		if strings.Count(log, "change failed") != 1 || strings.Count(log, "needs approval") != 1 {
			t.Errorf("log:\n%s", log)
		}
		b.expectRunning("bot", true)
		b.kill("bot")
		b.advance(0)
		b.specs(workspace("bot", "agent:v2"))
		b.advance(time.Minute)
		b.expectRunning("bot", true)
		if r := b.agent.Snapshot().Agent; len(r.Pending) != 0 || len(r.Waiting) != 0 {
			t.Errorf("after it was fixed: %+v", r)
		}
	})
}

func TestAnErrorStopsNoOther(t *testing.T) {
	withBed(t, func(b *bed) {
		gpu := workspace("gpu", "agent:v1")
		gpu.Devices = []string{"vendor.com/gpu=0"}
		b.set(func() {
			b.loaded.Errors = []spec.Error{{Pos: spec.Pos{File: "b.yaml", Line: 3, Col: 5}, Msg: "it is wrong"}}
		})
		b.specs(gpu, workspace("bot", "agent:v1"))
		b.advance(20 * time.Second)
		b.expectRunning("bot", true)
		b.expectLog(`
0s watching paths=[/specs] host=h resync=5m0s
0s not applied position=/specs/a.yaml error=this host has no device "vendor.com/gpu=0" (it has none; searched )
0s not applied position=b.yaml:3:5 error=it is wrong
0s image pulled image=agent:v1
0s change done workspace=bot action=create reason=new`)
		if got := b.agent.Snapshot().Agent.Errors; len(got) != 2 || got[1].Position != "b.yaml:3:5" {
			t.Errorf("errors: %+v", got)
		}
		b.Device("vendor.com/gpu=0", "1")
		b.set(func() { b.loaded.Errors = nil })
		b.advance(20 * time.Second)
		b.expectRunning("gpu", true)
		b.advance(5 * time.Minute)
		if got := b.agent.Snapshot().Agent.Errors; len(got) != 0 {
			t.Errorf("errors: %+v", got)
		}
	})
}

func TestUnknownSpecsChangeNothing(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.set(func() { b.loaded.Known = false })
		b.specs()
		b.advance(time.Hour)
		b.expectRunning("bot", true)
	})
}

func TestContainerdGoesAwayAndComesBack(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.takeLog()
		b.set(func() { b.observeErr = errGone })
		b.kill("bot")
		b.advance(3 * time.Minute)
		if got := b.agent.Snapshot().Agent.Trouble; got != errGone.Error() {
			t.Errorf("trouble: %q", got)
		}
		b.set(func() { b.observeErr = nil })
		b.advance(30 * time.Second)
		b.expectRunning("bot", true)
		b.expectLog(`
1s blocked reason=containerd does not answer
3m2s no longer blocked
3m2s change done workspace=bot action=start reason=exited 137 2 minutes ago`)
	})
}

func TestAnotherRunHasTheLock(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.takeLog()
		b.set(func() { b.holder = "ann@h with carrel apply" })
		b.kill("bot")
		b.advance(time.Minute)
		b.expectRunning("bot", false)
		b.set(func() { b.holder = "" })
		b.advance(3 * time.Second)
		b.expectRunning("bot", true)
		if log := b.takeLog(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "another run is changing this host: ann@h with carrel apply") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestFilesSettle(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		before := b.loadCount()
		for range 100 { // for 5 seconds
			b.wakes <- watch.Wake{Kind: watch.FilesChanged}
			b.advance(50 * time.Millisecond)
		}
		b.advance(time.Second)
		if got := b.loadCount() - before; got != 3 {
			t.Errorf("files that changed for 5 seconds were read %d times", got)
		}
	})
}

func TestReloadRetriesAtOnce(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		for range 8 {
			b.kill("bot")
			b.advance(10 * time.Second)
		}
		b.expectRunning("bot", false)
		b.wakes <- watch.Wake{Kind: watch.Reload, Text: "SIGHUP"}
		b.advance(time.Second)
		b.expectRunning("bot", true)
	})
}

func TestStoppingWaitsForChangesButNotForEver(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		stopping := make(chan struct{})
		b.set(func() { b.slow["bot"] = stopping })
		b.specs(workspace("bot", "agent:v2"), workspace("other", "agent:v1"))
		began := time.Now()
		b.stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the agent took %s to end", took)
		}
		b.expectRunning("other", true)
		close(stopping)
		b.advance(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		if last := b.reports[len(b.reports)-1]; last.Trouble != state.Stopped {
			t.Errorf("its last report: %+v", last)
		}
	})
}

func TestAFailedStartIsRetriedLater(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.set(func() { b.startErr = func(plan.StartTask) error { return errors.New("its shim hangs") } })
		b.kill("bot")
		b.advance(time.Minute)
		b.expectRunning("bot", false)
		if w := b.agent.Snapshot().Agent.Waiting; len(w) != 1 || w[0].Attempts != 6 || w[0].Why != "start bot: its shim hangs" {
			t.Errorf("what waits: %+v", w)
		}
		if s := b.status("bot"); s.NextRetry == nil {
			t.Errorf("the report of bot: %+v", s)
		}
		b.set(func() { b.startErr = nil })
		b.advance(time.Minute)
		b.expectRunning("bot", true)
	})
}

func TestWhatAUserDoesIsNotUndoneWhileFilesChange(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		b.takeLog()
		b.set(func() { b.loaded.Desired.Workspaces = []spec.Workspace{workspace("other", "agent:v1")} })
		b.wakes <- watch.Wake{Kind: watch.FilesChanged}
		b.Lose("bot") // a user has run carrel apply with the files as they are now
		b.Forget("bot")
		b.wakes <- watch.Wake{Kind: watch.EngineEvent, Text: "container deleted", Container: "bot"}
		b.kill("other")
		b.expectRunning("other", true)
		b.advance(time.Minute)
		b.expectLog("1s change done workspace=other action=start reason=exited 137")
	})
}

func TestAHalfMadeChangeIsNotPlannedFrom(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		stopping := make(chan struct{})
		b.set(func() { b.slow["bot"], b.observeTime = stopping, time.Second })
		b.specs(workspace("other", "agent:v1"))
		b.advance(2 * time.Second)
		b.takeLog()
		b.Lose("bot") // its deletion is half done
		b.kill("other")
		close(stopping) // the change ends during an observation
		b.advance(time.Minute)
		b.expectLog(`
4s change done workspace=bot action=delete reason=no spec describes it any more
6s change done workspace=other action=start reason=exited 137`)
	})
}

func TestDeletingASetFileByFileNeedsApproval(t *testing.T) {
	withBed(t, func(b *bed) {
		var all []spec.Workspace
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			all = append(all, workspace(name, "agent:v1"))
		}
		b.specs(all...)
		for i := range all {
			b.specs(all[i+1:]...)
			b.advance(30 * time.Second)
		}
		if got := len(b.agent.Snapshot().Agent.Pending); got != 4 {
			t.Errorf("%d of 8 deletions need approval:\n%s", got, b.takeLog())
		}
		b.expectRunning("h", true)
	})
}

// six is six workspaces, and others.
func six(more ...string) []spec.Workspace {
	var all []spec.Workspace
	for _, name := range append([]string{"a", "b", "c", "d", "e", "f"}, more...) {
		all = append(all, workspace(name, "agent:v1"))
	}
	return all
}

func TestADeletionThatNeededApprovalKeepsNeedingIt(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(six()...)
		others := six("u", "v", "w", "x", "y", "z")[6:]
		b.specs(others...) // all are renamed at once: the set has twelve workspaces then
		b.advance(time.Hour)
		for _, w := range append(six(), others...) {
			b.expectRunning(w.Name, true)
		}
		if got := len(b.agent.Snapshot().Agent.Pending); got != 6 {
			t.Errorf("%d deletions need approval", got)
		}
		b.specs(append(six(), others...)...)
		if got := len(b.agent.Snapshot().Agent.Pending); got != 0 {
			t.Errorf("%d deletions need approval that are not wanted", got)
		}
		b.specs(append(six()[1:], others...)...)
		if log := b.takeLog(); !strings.Contains(log, "workspace=a action=delete") || strings.Contains(log, "workspace=b action=delete reason=no spec") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestTheNextAgentKeepsApprovals(t *testing.T) {
	for _, left := range [][]state.Pending{nil, {{Workspace: "f", Action: string(decide.ActionDelete), Why: "more than half"}}} {
		withBed(t, func(b *bed) {
			b.specs(six()...)
			b.stop()
			b.set(func() { b.lastPending = left })
			b.startAgent()
			b.specs(six()[:5]...)
			if got := len(b.agent.Snapshot().Agent.Pending); got != len(left) {
				t.Errorf("%d deletions need approval, with %v", got, left)
			}
		})
	}
}

func TestABlockedWorkspaceKeepsRunning(t *testing.T) {
	never := func(w spec.Workspace) spec.Workspace { w.PreserveData = spec.PreserveNever; return w }
	gpu := func(w spec.Workspace) spec.Workspace { w.Devices = []string{"vendor.com/gpu=0"}; return w }
	for name, specs := range map[string][2]spec.Workspace{
		"it would lose data":   {never(workspace("bot", "agent:v1")), never(workspace("bot", "agent:v2"))},
		"its image is missing": {workspace("bot", "agent:v1"), workspace("bot", "none:v1")},
		"it was rolled back":   {workspace("bot", "agent:v1"), workspace("bot", "exits:v1")},
		"it has an error":      {workspace("bot", "agent:v1"), gpu(workspace("bot", "agent:v1"))},
	} {
		t.Run(name, func(t *testing.T) {
			withBed(t, func(b *bed) {
				b.specs(specs[0])
				b.specs(specs[1])
				b.advance(time.Minute)
				b.kill("bot")
				b.advance(0)
				b.expectRunning("bot", true)
				b.takeLog()
				for range 5 { // these starts back off, too
					b.kill("bot")
					b.advance(time.Second)
				}
				b.expectRunning("bot", false)
				b.advance(time.Minute)
				b.expectRunning("bot", true)
				if s := b.status("bot"); s.Restarts < 4 {
					t.Errorf("the report has %d restarts", s.Restarts)
				}
			})
		})
	}
}

func TestAFileWithAHostErrorDisturbsNothing(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("a", "agent:v1"), workspace("b", "agent:v1"), workspace("c", "agent:v1"))
		b.takeLog()
		half := workspace("a", "agent:v1")
		half.Devices = []string{"vendor.com/gpu=0"}
		b.specs(half, workspace("b", "agent:v2"), workspace("new", "agent:v1"))
		b.advance(time.Hour)
		log := b.takeLog()
		if strings.Contains(log, "action=replace reason=image") || strings.Contains(log, "change done workspace=c") || !strings.Contains(log, "change done workspace=new action=create") {
			t.Errorf("log:\n%s", log)
		}
		if got := len(b.agent.Snapshot().Agent.Pending); got != 2 {
			t.Errorf("%d changes wait for the file to be fixed", got)
		}
	})
}

func TestApprovalIsNeededAlsoAfterARestart(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(six()...)
		b.specs(six("u", "v", "w", "x", "y", "z")[6:]...)
		starting := make(chan struct{})
		b.set(func() { b.startErr = func(plan.StartTask) error { <-starting; return nil } })
		b.kill("a")
		b.kill("b") // the host is observed while a is started
		b.advance(time.Second)
		close(starting)
		b.advance(time.Hour)
		for _, w := range six() {
			b.expectRunning(w.Name, true)
		}
	})
}

func TestAWorkspaceThatWasBlockedBacksOffToo(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.specs(workspace("bot", "none:v1"))
		b.kill("bot")
		b.specs(workspace("bot", "agent:v1")) // as before
		for range 5 {
			b.kill("bot")
			b.advance(time.Second)
		}
		b.expectRunning("bot", false)
		b.advance(time.Minute)
		b.expectRunning("bot", true)
	})
}

// toRobot is bot, which its spec now calls robot.
func toRobot(image string) spec.Workspace {
	w := workspace("robot", image)
	w.RenamedFrom = "bot"
	return w
}

func TestWhatIsBeingRenamedIsOneWorkspace(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"), workspace("other", "agent:v1"))
		stopping := make(chan struct{})
		b.set(func() { b.slow["bot"] = stopping })
		b.specs(toRobot("agent:v1"), workspace("other", "agent:v1"))
		b.takeLog()
		b.kill("bot") // it ends, and nobody starts it again meanwhile
		b.kill("other")
		b.advance(time.Minute)
		b.expectRunning("bot", false)
		b.expectLog("2s change done workspace=other action=start reason=exited 137")
		close(stopping)
		b.advance(time.Second)
		b.expectRunning("robot", true)
		b.expectLog("1m2s change done workspace=robot action=rename reason=bot is called robot now")
		b.advance(time.Hour)
		b.expectLog("")
	})
}

func TestWhatCannotBeRenamedYetKeepsRunning(t *testing.T) {
	withBed(t, func(b *bed) {
		b.specs(workspace("bot", "agent:v1"))
		b.specs(toRobot("none:v1"))
		b.kill("bot")
		b.expectRunning("bot", true)
		b.Publish("none:v1", memory.Image{Digest: "sha256:n"})
		b.advance(10 * time.Minute)
		b.expectRunning("robot", true)
		if s := b.observedStatus("bot"); s.Workspace != "" {
			t.Errorf("bot is still there: %+v", s)
		}
	})
}
