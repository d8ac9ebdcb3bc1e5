package watch

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"carrel/plan"
	"carrel/plan/decide"
	"carrel/plan/state"
)

// backlog is what is wanted and not done yet. It is kept from one sync to the
// next, so that what fails is retried with a backoff and not at each sync.
type backlog struct {
	changes   retries // by workspace
	starts    retries // of workspaces that keep running as they were applied while their change is blocked, by workspace
	images    retries // pulls, by image
	approvals approvals
}

func newBacklog(paths []string) *backlog {
	return &backlog{changes: retries{}, starts: retries{}, images: retries{}, approvals: newApprovals(paths)}
}

// forgetAttempts has everything be retried at once.
func (b *backlog) forgetAttempts() {
	b.changes, b.starts, b.images = retries{}, retries{}, retries{}
}

// decision is what becomes of the changes of a plan.
type decision struct {
	do      plan.Plan       // the changes that are made now
	pull    []string        // images that other changes need first
	pending []state.Pending // changes that need approval
	waiting []state.Waiting // changes and pulls that are retried later
	unmade  []state.Unmade  // workspaces that have no container yet
}

// decide decides what becomes of the changes of a plan: blocker says which of
// them are made now, and why the others are not.
func (b *backlog) decide(p plan.Plan, s situation) decision {
	b.approvals.review(p, s.busy, s.now)
	d := decision{}
	needed, images := maps.Clone(s.busy), map[string]bool{}
	d.do = p.Only(func(c plan.Change) bool {
		for _, image := range c.Pulls() {
			images[image] = true
		}
		blocked := b.blocker(c, s)
		switch blocked.reason {
		case needsApproval, fileHasError: // attempts at it, if there were any, do not count any more
			d.addPending(c, blocked.text)
			return false
		case rolledBack:
			d.addPending(c, blocked.text)
		case specsChanging, beingChanged:
		case notBlocked:
			b.changes[c.Workspace] = b.needed(c, s.now)
		case backingOff:
			b.changes[c.Workspace] = b.needed(c, s.now)
			d.addWaiting(c, blocked.text, b.changes[c.Workspace])
		case imageMissing:
			b.changes[c.Workspace] = b.needed(c, s.now)
			b.pull(c.Pulls(), s.now, &d)
		}
		needed[c.Workspace] = true
		if c.Action == decide.ActionCreate {
			d.unmade = append(d.unmade, b.unmade(c, blocked))
		}
		return blocked.reason == notBlocked
	})
	b.changes.keepOnly(needed, s.now)
	b.images.keepOnly(images, s.now)
	return d
}

// unmade is a workspace that has no container yet, and why not.
func (b *backlog) unmade(c plan.Change, blocked blocker) state.Unmade {
	u := state.Unmade{Workspace: c.Workspace, Image: c.Image(), Why: cmp.Or(blocked.text, string(blocked.reason), "it is being created")}
	later := b.changes[c.Workspace]
	if blocked.reason == imageMissing {
		u.Why = "its image is being pulled"
		for _, image := range c.Pulls() {
			if r := b.images[image]; r.err != "" {
				u.Why, later = r.err, r
			}
		}
	}
	if later.err != "" {
		u.Until = &later.at
	}
	return u
}

// needed is the retry of a change once that is needed.
func (b *backlog) needed(c plan.Change, now time.Time) retry {
	r := b.changes[c.Workspace]
	if c.First && !r.needed {
		r = retry{} // the workspace is new, whatever there was under its name before
	}
	r = r.need(c.Key(), now)
	r.restart = restarts(c)
	return r
}

// pull has images pulled that a change needs: each once, however many changes
// need it.
func (b *backlog) pull(images []string, now time.Time, d *decision) {
	for _, image := range images {
		r := b.images[image].need(image, now)
		b.images[image] = r
		waits := slices.ContainsFunc(d.waiting, func(w state.Waiting) bool { return w.Image == image })
		switch {
		case waits || slices.Contains(d.pull, image):
		case now.Before(r.at):
			d.waiting = append(d.waiting, state.Waiting{Image: image, Why: r.err, Attempts: r.attempts(), Until: r.at})
		default:
			d.pull = append(d.pull, image)
		}
	}
}

// changeEnded notes the end of a change, and gives its retry.
func (b *backlog) changeEnded(c plan.Change, err error, now time.Time) retry {
	all := b.changes
	if start := b.starts[c.Workspace]; start.needed && start.key == c.Key() {
		all = b.starts
	}
	all[c.Workspace] = all[c.Workspace].end(err, now)
	if c.Deletes() && err == nil {
		b.approvals.deleted[c.Workspace] = now
	}
	return all[c.Workspace]
}

// pullEnded notes the end of a pull, and gives its retry.
func (b *backlog) pullEnded(image string, err error, now time.Time) retry {
	b.images[image] = b.images[image].end(err, now)
	return b.images[image]
}

// restarts is how often the tasks of workspaces were restarted in a row, by
// workspace; only those that were.
func (b *backlog) restarts(now time.Time) map[string]int {
	all := map[string]int{}
	for _, known := range []retries{b.changes, b.starts} {
		for name, r := range known {
			switch {
			case !r.restart:
			case r.needed:
				all[name] = r.attempts()
			case r.recent(now):
				all[name] = r.attempt
			}
		}
	}
	return all
}

func (d *decision) addPending(c plan.Change, why string) {
	d.pending = append(d.pending, state.Pending{Workspace: c.Workspace, Action: string(c.Action), Why: why})
}

func (d *decision) addWaiting(c plan.Change, why string, r retry) {
	d.waiting = append(d.waiting, state.Waiting{Workspace: c.Workspace, Why: why, Attempts: r.attempts(), Until: r.at})
}

// nextRetry is the first time at which something that waits is due; zero when
// nothing waits.
func (d decision) nextRetry() time.Time {
	var first time.Time
	for _, w := range d.waiting {
		if first.IsZero() || w.Until.Before(first) {
			first = w.Until
		}
	}
	return first
}
