// Package apply carries out plans: it is the only code that changes the world.
//
// The steps of a workspace run in order, workspaces run side by side, and one
// that fails never stops the others. What to do was decided before, by package
// plan; when to do it again is decided elsewhere.
package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"carrel/plan"
	"carrel/plan/state"
)

// Runner carries out plans on one host.
type Runner struct {
	Runtime Runtime
	Network Network
	Volumes Volumes
	Records Records

	// Observe looks again, for the rollback of a replace that failed. Without
	// it nothing is rolled back.
	Observe func(context.Context) (state.State, error)

	Who      string        // for the history: the person or agent, as user@host
	Parallel int           // how many workspaces at a time; 0 is one
	MinReady time.Duration // how long a new task must run to count as started; 0 is DefaultMinReady
	Report   func(Event)   // may be nil; called from one goroutine at a time

	// Ended is told of each change that was begun, when nothing more is done to
	// its workspace. It may be nil, and may be called from several goroutines.
	// A change that an interrupt cut short has the error of its context.
	Ended func(c plan.Change, took time.Duration, err error)
}

// DefaultMinReady is how long a new task must run when the runner does not say.
const DefaultMinReady = 100 * time.Millisecond

// Run carries out the plan and returns every failure, joined. When ctx ends,
// no further change is begun: fetching images is given up, and every change
// that is past it is brought to its end.
func (r *Runner) Run(ctx context.Context, p plan.Plan) error {
	run := &run{Runner: *r, id: p.ID(), images: map[string]func() error{}, order: newOrder(p.Changes)}
	slots := make(chan struct{}, max(r.Parallel, 1))
	var changes sync.WaitGroup
	for _, c := range run.order.changes {
		select {
		case <-ctx.Done():
		case slots <- struct{}{}:
		}
		if ctx.Err() != nil {
			run.leave()
			continue
		}
		changes.Go(func() { run.change(ctx, c, sync.OnceFunc(func() { <-slots })) })
	}
	changes.Wait()
	if run.left > 0 {
		run.errs = append(run.errs, &InterruptedError{run.left})
	}
	return errors.Join(run.errs...)
}

// run is one run of a plan.
type run struct {
	Runner
	id    string // the plan's
	order *order

	mu     sync.Mutex
	images map[string]func() error // by step, each fetched once
	errs   []error
	left   int // changes that were not begun

	reporting sync.Mutex
}

// change carries out the change of one workspace. It calls free once the task has
// started, so that the next workspace can begin while this one is watched.
func (r *run) change(ctx context.Context, c plan.Change, free func()) {
	defer free()
	began := time.Now()
	failed := r.carryOut(ctx, c, free)
	r.order.ended(c, failed == nil)
	if r.Ended == nil {
		return
	}
	if failed != nil {
		r.Ended(c, time.Since(began), failed)
		return
	}
	r.Ended(c, time.Since(began), nil)
}

// carryOut runs the steps of a change and, when one fails, brings back what ran
// before as far as that is possible.
func (r *run) carryOut(ctx context.Context, c plan.Change, free func()) *StepError {
	if err := r.order.await(c); err != nil {
		failed := &StepError{Workspace: c.Workspace, Step: c.Steps[0], Err: err}
		r.report(Event{Kind: Failed, Workspace: c.Workspace, Step: failed.Step, Err: err})
		r.fail(failed)
		r.note(ctx, c, failed, nil)
		return failed
	}
	history, failed := r.steps(ctx, c, free)
	if failed == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(failed.Err, context.Canceled) {
		r.leave()
		return failed
	}
	if disturbed(c, failed.index) && r.Observe != nil {
		undone, err := r.rollBack(ctx, c)
		history = append(history, undone...)
		failed.Err = rolledBack(failed.Err, err)
	}
	r.fail(failed)
	r.note(ctx, c, failed, history)
	return failed
}

// steps runs the steps of a change in order, up to the first that fails. It
// returns the entries that are not in the store yet.
//
// A change that a person asked for by name goes on when the store takes nothing at
// present; that is its error in the end.
func (r *run) steps(ctx context.Context, c plan.Change, free func()) (history []state.Entry, failed *StepError) {
	var unwritten *StepError
	for i, s := range c.Steps {
		entry := state.Entry{
			Time: time.Now().UTC(), Who: r.Who, Plan: r.id,
			Workspace: c.Workspace, Action: string(c.Action), Reason: strings.Join(c.Reasons, "; "), Step: s.String(),
		}
		r.report(Event{Kind: Began, Workspace: c.Workspace, Step: s})
		err := r.do(ctx, c.Workspace, s, append(history, entry), free)
		entry.Duration = time.Since(entry.Time)
		if warning, ok := err.(*plan.Warning); ok { // and nothing else: joined with an error it is one
			r.report(Event{Kind: Warned, Workspace: c.Workspace, Step: s, Took: entry.Duration, Err: warning})
			entry.Error, err = "warning: "+warning.Text, nil
		}
		if err != nil {
			entry.Error = err.Error()
			r.report(Event{Kind: Failed, Workspace: c.Workspace, Step: s, Took: entry.Duration, Err: err})
			history, failed = append(history, entry), &StepError{Workspace: c.Workspace, Step: s, Err: err, index: i}
			if full := (*plan.UnwrittenError)(nil); !c.Regardless || !errors.As(err, &full) {
				if unwritten != nil {
					r.fail(unwritten)
				}
				return history, failed
			}
			if unwritten == nil {
				unwritten = failed
				unwritten.Err = &UnrecordedError{Action: string(c.Action), Err: err}
			}
			continue
		}
		history = append(history, entry)
		if s.Role() == plan.Record {
			history = nil
		}
		r.report(Event{Kind: Done, Workspace: c.Workspace, Step: s, Took: entry.Duration})
	}
	return history, unwritten
}

// do is the one switch over steps. What was begun is brought to its end even
// when the run is to end, except for the fetching of images, which disturbs
// nothing when it is given up.
func (r *run) do(interrupted context.Context, workspace string, s plan.Step, history []state.Entry, free func()) error {
	ctx := context.WithoutCancel(interrupted)
	switch s := s.(type) {
	case plan.PullImage:
		return r.once(s.String(), func() error {
			return r.Runtime.PullImage(interrupted, s, func(layer string, done, total int64) {
				r.report(Event{Kind: Progress, Workspace: workspace, Step: s, Layer: layer, Bytes: done, Total: total})
			})
		})
	case plan.ImportImage:
		return r.once(s.Name, func() error { return r.Runtime.ImportImage(interrupted, s) })
	case plan.CreateVolume:
		return r.Runtime.ViewImage(ctx, s, func(root string, owner state.Owner) error {
			return r.Volumes.CreateVolume(ctx, s, root, owner)
		})
	case plan.RestoreData:
		return r.Volumes.RestoreData(ctx, s)
	case plan.PreserveData:
		return r.Volumes.PreserveData(ctx, s)
	case plan.MigrateData:
		if s.Folder != "" {
			return r.Volumes.MigrateData(ctx, s, s.Folder)
		}
		return r.Runtime.ViewSnapshot(ctx, s, func(root string) error { return r.Volumes.MigrateData(ctx, s, root) })
	case plan.RenameData:
		return r.Volumes.RenameData(ctx, s)
	case plan.DiscardData:
		return r.Volumes.DiscardData(ctx, s)
	case plan.DiscardPreserved:
		return r.Volumes.DiscardPreserved(ctx, s)
	case plan.RecoverData:
		return r.Volumes.RecoverData(ctx, s)
	case plan.EmptyTrash:
		return r.Volumes.EmptyTrash(ctx, s)
	case plan.ExtractData:
		return r.Volumes.ExtractData(ctx, s)
	case plan.PlaceData:
		return r.Volumes.PlaceData(ctx, s)
	case plan.AttachNetwork:
		return r.Network.AttachNetwork(ctx, s)
	case plan.DetachNetwork:
		return r.Network.DetachNetwork(ctx, s)
	case plan.CleanNetwork:
		return r.Network.CleanNetwork(ctx, s)
	case plan.CheckImage:
		return r.Runtime.CheckImage(ctx, s)
	case plan.CheckContainer:
		return r.Runtime.CheckContainer(ctx, s)
	case plan.CreateContainer:
		return r.Runtime.CreateContainer(ctx, s)
	case plan.AdoptContainer:
		return r.Runtime.AdoptContainer(ctx, s)
	case plan.UpdateLabels:
		return r.Runtime.UpdateLabels(ctx, s)
	case plan.UpdateResources:
		return r.Runtime.UpdateResources(ctx, s)
	case plan.RestoreDescription:
		return r.Runtime.RestoreDescription(ctx, s)
	case plan.StartTask:
		return r.start(ctx, s, free)
	case plan.StopTask:
		return r.Runtime.StopTask(ctx, s)
	case plan.DeleteContainer:
		return r.Runtime.DeleteContainer(ctx, s)
	case plan.ClaimRecord:
		return r.Records.ClaimRecord(ctx, s, history)
	case plan.SaveRecord:
		return r.Records.SaveRecord(ctx, s, history)
	case plan.DeleteRecord:
		return r.Records.DeleteRecord(ctx, s, history)
	case plan.NoteHistory:
		return r.Records.NoteHistory(ctx, s, history)
	}
	return fmt.Errorf("no driver does step %T", s)
}

// once fetches an image once in a run, however many workspaces need it.
func (r *run) once(key string, fetch func() error) error {
	r.mu.Lock()
	shared, ok := r.images[key]
	if !ok {
		shared = sync.OnceValue(fetch)
		r.images[key] = shared
	}
	r.mu.Unlock()
	return shared()
}

// start starts a task and watches its first moments: a command that ends at
// once is a failure that nobody would see otherwise.
func (r *run) start(ctx context.Context, s plan.StartTask, free func()) error {
	if err := r.Runtime.StartTask(ctx, s); err != nil {
		return err
	}
	free()
	watch, cancel := context.WithTimeout(ctx, cmp.Or(r.MinReady, DefaultMinReady))
	defer cancel()
	code, exited, err := r.Runtime.Exited(watch, s.Container)
	if err != nil {
		return err
	}
	if exited {
		return &ExitedError{Workspace: s.Workspace, Code: code, Output: r.Runtime.LastOutput(ctx, s)}
	}
	return nil
}

func (r *run) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left++
}

func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *run) report(e Event) {
	if r.Report == nil {
		return
	}
	r.reporting.Lock()
	defer r.reporting.Unlock()
	e.Time = time.Now()
	r.Report(e)
}
