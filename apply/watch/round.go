package watch

import (
	"carrel/plan/decide"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"carrel/apply"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// seen is what a look found.
type seen struct {
	cause  cause
	began  time.Time
	loaded *Loaded // nil when the files were not read
	now    state.State
	busy   map[string]bool // workspaces that were being changed when it began
	set    string          // whose agent was asked for what it left to a person; "" when none was
	left   []state.Pending // that
	held   bool            // the lock
	err    error
}

// look looks, beside the loop. It takes the lock before, so that what it sees
// is not what another run is about to change.
func (l *loop) look(now time.Time) {
	l.looking = true
	s := seen{cause: l.schedule.begin(now), began: now, busy: map[string]bool{}}
	for name := range l.busy {
		s.busy[name] = true
	}
	want, recalled := l.loaded.Want, l.recalled
	l.beside(func() func() {
		if s.cause.reload {
			loaded := l.Load()
			s.loaded, want = &loaded, loaded.Want
		}
		ctx, cancel := context.WithTimeout(l.ctx, patience)
		defer cancel()
		if s.err = l.lock.hold(ctx); s.err == nil {
			s.held = true
			s.now, s.err = l.Host.Look(ctx, want)
		}
		if s.err == nil && want.Name != recalled {
			s.set = want.Name
			s.left, s.err = l.Host.Left(ctx, want.Name)
		}
		return func() { l.saw(s, time.Now()) }
	})
}

// saw goes on from what a look found: it plans, and begins what is to be done.
func (l *loop) saw(s seen, now time.Time) {
	l.looking, l.stale = false, true
	l.rest = now.Add(now.Sub(s.began))
	if s.loaded != nil {
		l.loaded = *s.loaded
		l.ask()
	}
	if l.changed.IsZero() {
		l.changed = s.cause.changed
	}
	if s.err != nil {
		l.sawNothing(s, now)
		return
	}
	l.hindered("")
	l.blind = attempt{}
	l.now, l.lookedAt = s.now, now.UTC()
	l.now.Ask(l.known())
	if s.set != "" {
		l.recalled = s.set
		l.memory.recall(s.left)
	}
	l.decide(s.busy, now)
	l.log.Debug("looked", "because", strings.Join(s.cause.words, ", "), "changes", len(l.verdict.Do.Changes), "took", now.Sub(s.began).String())
	l.fetch()
	l.carryOut(s.began)
}

// sawNothing makes up for a look that failed. A lock that another run has is
// waited for; containerd or a store that went away is asked again.
func (l *loop) sawNothing(s seen, now time.Time) {
	if s.held {
		l.unlock()
	}
	if l.ctx.Err() != nil {
		return
	}
	l.hindered(s.err.Error())
	var locked *apply.LockedError
	if errors.As(s.err, &locked) {
		l.schedule.look(now, "another run had the lock")
		return
	}
	l.Metrics.round(failed, now.Sub(s.began))
	l.blind = l.blind.end(s.err, now)
	until := l.blind.until
	if most := now.Add(mostBlind); until.After(most) {
		until = most
	}
	l.schedule.wait(until)
}

// hindered says once why nothing can be done, and once that it can again.
func (l *loop) hindered(why string) {
	why, _, _ = strings.Cut(why, "\n")
	switch {
	case why == l.trouble:
		return
	case why != "":
		l.log.Warn("nothing can be done now", "because", why)
	default:
		l.log.Info("going on")
	}
	l.trouble = why
}

// ask asks registries, beside the loop: one that does not answer keeps nobody
// waiting.
func (l *loop) ask() {
	want := l.loaded.Want
	l.beside(func() func() {
		sources := l.Host.Sources(l.ctx, want)
		return func() {
			if sources == nil || maps.Equal(sources, l.sources) && len(l.fetched) == 0 {
				return // nobody could be asked, or nothing is new
			}
			l.sources, l.fetched = sources, map[string]bool{}
			l.schedule.look(time.Now(), "registries were asked")
		}
	})
}

// known is what is known of what registries have: what they said, or what was
// fetched from them since.
func (l *loop) known() map[string]state.Source {
	all := maps.Clone(l.sources)
	for name := range l.fetched {
		all[name] = state.Source{Digest: l.now.Images[name].Digest}
	}
	return all
}

// decide plans, and says what becomes of the changes. What was seen of workspaces
// that were being changed meanwhile may be half of the change, even when that has
// ended since. No change begins while a look is made.
func (l *loop) decide(busy map[string]bool, now time.Time) {
	before := l.verdict
	l.verdict, l.notes = verdict{}, nil
	faults := map[string]state.SpecError{}
	for _, f := range l.loaded.Faults {
		addFault(faults, f, now)
	}
	if l.loaded.Known {
		options := l.Options
		options.Busy = busy
		p, ofHost := plan.Around(l.loaded.Want, l.now, options)
		for _, f := range ofHost {
			addFault(faults, f, now)
		}
		l.notes = p.Notes
		l.verdict = l.memory.judge(p, busy, l.settled(), l.doubts(ofHost), now)
		l.keep(options, now)
		l.mend(len(ofHost) > 0, ofHost.Error(), now)
	}
	l.tellFaults(faults)
	l.tellPending(before)
	l.schedule.wait(l.verdict.next())
}

// doubts says of changes that disturb what runs why they are not made: another
// part of their file has a fault, and it may be half of what it should be.
func (l *loop) doubts(faults spec.Errors) func(plan.Change) string {
	faulty := map[string]bool{}
	for _, f := range faults {
		faulty[f.Pos.File] = true
	}
	described := map[string]string{}
	for _, r := range l.now.Records {
		described[r.Workspace] = r.Source
	}
	return func(c plan.Change) string {
		for _, file := range []string{c.Source(), described[c.Workspace]} {
			if file != "" && faulty[file] && (c.Deletes() || c.Cost == decide.CostReplace) {
				return fmt.Sprintf("%s, which describes or described it, has a fault (mend that first)", file)
			}
		}
		return ""
	}
}

// keep has workspaces run as they were applied whose changes are held back.
func (l *loop) keep(options plan.Options, now time.Time) {
	names := map[string]bool{}
	for _, r := range l.now.Records {
		names[r.Workspace] = r.Set == l.loaded.Want.Name && !options.Busy[r.Workspace]
	}
	for _, w := range l.loaded.Want.Workspaces {
		names[w.Name] = !options.Busy[w.Name] // it may be recorded for another set
	}
	for _, c := range l.verdict.Do.Changes {
		names[c.Workspace] = false
	}
	for _, w := range l.verdict.Waiting {
		if l.memory.changes[w.Workspace].mends {
			names[w.Workspace] = false
		}
	}
	kept := l.memory.keep(plan.Keep(l.now, names, options), options.Busy, now, &l.verdict)
	l.verdict.Do.Changes = append(l.verdict.Do.Changes, kept.Changes...)
}

// settled reports whether the files are known as they are now. While they change,
// and before they are read, only tasks are started: what the files said before
// may be what a person has just undone.
func (l *loop) settled() bool { return l.schedule.first.IsZero() }

// mend looks again at faults that no file has: the device, the folder or the
// archive that is missing may come.
func (l *loop) mend(faulty bool, text string, now time.Time) {
	switch {
	case !faulty:
		l.mending = attempt{}
		return
	case l.mending.key != text:
		l.mending = attempt{key: text, tries: 1}.end(errors.New(text), now)
	case !now.Before(l.mending.until):
		l.mending = l.mending.end(errors.New(text), now)
	}
	l.schedule.wait(l.mending.until)
}

// fetch fetches the images that changes need, beside the loop.
func (l *loop) fetch() {
	for _, image := range l.verdict.Fetch {
		if l.fetching[image] {
			continue
		}
		l.fetching[image] = true
		began := time.Now()
		l.beside(func() func() {
			err := l.Host.Pull(l.ctx, image)
			return func() { l.fetchedImage(image, time.Since(began), err) }
		})
	}
}

func (l *loop) fetchedImage(image string, took time.Duration, err error) {
	delete(l.fetching, image)
	if l.ctx.Err() != nil {
		return
	}
	now := time.Now()
	a := l.memory.images[image].end(err, now)
	l.memory.images[image] = a
	l.Metrics.pull(err)
	if err != nil {
		l.log.Error("image not fetched", "image", image, "error", err, "tries", a.tries-1, "next", a.until.UTC().Format(time.RFC3339))
	} else {
		l.fetched[image] = true
		l.log.Info("image fetched", "image", image, "took", took.Round(time.Millisecond).String())
	}
	l.schedule.look(now, "an image was fetched")
}

// carryOut begins the changes that are to be made now, beside the loop. The
// lock is given back when the last of them has ended.
func (l *loop) carryOut(began time.Time) {
	p, changed := l.verdict.Do, l.changed
	if !p.Empty() || len(l.fetching) == 0 {
		l.changed = time.Time{}
	}
	if p.Empty() || l.ctx.Err() != nil {
		l.unlock()
		l.Metrics.round(unchanged, time.Since(began))
		return
	}
	open := map[string]bool{} // changes of this round; the next one may have others of the same workspaces
	for _, c := range p.Changes {
		l.busy[c.Workspace], open[c.Workspace] = c.Action, true
	}
	l.beside(func() func() {
		err := l.Host.Run(l.ctx, p, l.Metrics.step, func(c plan.Change, took time.Duration, err error) {
			l.then(func() {
				delete(open, c.Workspace)
				l.ended(c, took, err, time.Now())
			})
		})
		return func() {
			l.unlock()
			l.roundEnded(began, changed, err)
			for name := range open {
				delete(l.busy, name) // it was not begun
			}
			l.schedule.look(time.Now(), "changes ended")
		}
	})
}

func (l *loop) roundEnded(began, changed time.Time, err error) {
	took := time.Since(began)
	if err != nil {
		l.Metrics.round(failed, took)
		l.tellOthers(err)
		return
	}
	l.Metrics.round(done, took)
	if !changed.IsZero() {
		l.Metrics.applied(time.Since(changed))
	}
}

// ended says and remembers how a change went.
func (l *loop) ended(c plan.Change, took time.Duration, err error, now time.Time) {
	l.stale = true
	delete(l.busy, c.Workspace)
	if err != nil && l.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return // it was not done, and will be
	}
	var claimed *plan.ClaimedError
	if errors.As(err, &claimed) {
		l.log.Info("another host has it", "workspace", c.Workspace, "host", claimed.Host)
		l.schedule.look(now, "another host has it")
		return
	}
	a := l.memory.end(c, err, now)
	if c.Deletes() && err == nil {
		l.memory.deleted = append(l.memory.deleted, now)
	}
	l.Metrics.change(c, took, err)
	l.tellChange(c, took, err, a, now)
	if err != nil || l.stirred[c.Workspace] {
		l.schedule.look(now, "a change ended")
	}
	delete(l.stirred, c.Workspace)
}

func (l *loop) unlock() {
	if err := l.lock.release(); err != nil {
		l.log.Error("the lock was not given back", "error", err)
	}
}
