package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"carrel/plan"
	"carrel/plan/state"
)

// noteTimeout bounds the writing down of a failure, which has a context of its
// own: the one of the change may be what failed.
const noteTimeout = 10 * time.Second

// disturbed reports whether a change that failed at a step took down what ran
// before, or may have. What never ran need not come back. A record that could not be written is no reason to take
// down what runs now: the next plan makes up for it.
func disturbed(c plan.Change, failed int) bool {
	role := c.Steps[failed].Role()
	return c.Previous != nil && !c.Previous.NeverRan && role != plan.Record && role != plan.Tidy &&
		slices.ContainsFunc(c.Steps[:failed+1], func(s plan.Step) bool { return s.Role() == plan.Disturb })
}

// rollBack looks again and brings the workspace to what it was before the
// change: the same planner, with the previous spec as the desired one.
func (r *run) rollBack(ctx context.Context, c plan.Change) ([]state.Entry, error) {
	now, err := r.Observe(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	back, err := plan.Rollback(c, now)
	if err != nil {
		return nil, err
	}
	history, failed := r.steps(ctx, back, func() {})
	if failed != nil {
		return history, fmt.Errorf("%s: %w", failed.Step, failed.Err)
	}
	return history, nil
}

func rolledBack(reason, err error) error {
	if err != nil {
		return fmt.Errorf("%w; the previous spec could not be brought back either: %w", reason, err)
	}
	return &RolledBackError{reason}
}

// note writes down why a change did not reach its end. A store that cannot
// take it is one more failure.
func (r *run) note(ctx context.Context, c plan.Change, failed *StepError, history []state.Entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	var err error
	if c.Recorded {
		err = r.Records.SaveFailure(ctx, state.Failure{
			Workspace: c.Workspace, Set: c.Set, Host: c.Host, Source: c.Source(),
			Error: fmt.Sprintf("%s: %s", failed.Step, failed.Err),
		}, history)
	} else {
		err = r.Records.NoteHistory(ctx, plan.NoteHistory{Workspace: c.Workspace}, history)
	}
	var full *plan.UnwrittenError
	if errors.As(err, &full) && (c.Regardless || errors.As(failed.Err, &full)) {
		return // that the store takes nothing is said already
	}
	if err != nil {
		r.fail(fmt.Errorf("%s: noting the failure: %w", c.Workspace, err))
	}
}
