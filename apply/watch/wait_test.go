package watch

import (
	"testing"
	"time"

	"carrel/plan"
	"carrel/plan/decide"
)

// TestBlocker checks each reason why a workspace waits, and that the first one
// that holds is the answer. Each case adds its reason to those of the cases
// below it.
func TestBlocker(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	replace := plan.Change{Workspace: "bot", Action: decide.ActionReplace, Cost: decide.CostReplace, Reasons: []string{"image changed"}}
	b := newBacklog([]string{"/specs"})
	s := situation{now: now, busy: map[string]bool{}, invalidFiles: map[string]bool{}, describedBy: map[string]string{"bot": "/specs/bot.yaml"}}
	expect := func(want blocker) {
		t.Helper()
		if got := b.blocker(replace, s); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	expect(blocker{})

	s.busy["bot"] = true
	expect(blocker{reason: beingChanged})

	replace.Steps = []plan.Step{plan.PullImage{Image: "agent:v2"}}
	expect(blocker{reason: imageMissing})

	b.changes["bot"] = retry{}.need(replace.Key(), now).end(nil, now)
	b.changes["bot"] = b.needed(replace, now)
	expect(blocker{backingOff, "needed again soon after it was done: image changed"})

	s.specsChanging = true
	expect(blocker{reason: specsChanging})

	b.changes["bot"] = retry{key: replace.Key(), needed: true, err: "start bot: exited 3", rolledBack: true}
	expect(blocker{rolledBack, "it failed and was rolled back: start bot: exited 3 (fix the spec, or retry with carrel apply /specs)"})

	s.invalidFiles["/specs/bot.yaml"] = true
	expect(blocker{fileHasError, "its spec file /specs/bot.yaml has an error (fix that first)"})

	replace.Cost = decide.CostDataAtRisk
	expect(blocker{needsApproval, "it deletes data (to approve it: carrel apply /specs --allow-data-loss)"})
}

// TestBlockerOfARestart checks what differs for a task that ended: it is
// restarted while specs change, and one that keeps ending is in a crash loop.
func TestBlockerOfARestart(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	start := plan.Change{Workspace: "bot", Action: decide.ActionStart, Reasons: []string{"exited 137"}}
	b, s := newBacklog(nil), situation{now: now, specsChanging: true}
	if got := b.blocker(start, s); got != (blocker{}) {
		t.Errorf("a restart is blocked by %+v", got)
	}
	b.changes["bot"] = b.needed(start, now).end(nil, now)
	if got, want := b.blocker(start, s), (blocker{backingOff, "crash loop: exited 137"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.now = now.Add(minBackoff)
	b.changes["bot"] = b.needed(start, now)
	if got := b.blocker(start, s); got != (blocker{}) {
		t.Errorf("after its backoff it is blocked by %+v", got)
	}
}
