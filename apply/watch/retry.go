package watch

import (
	"errors"
	"fmt"
	"time"

	"carrel/apply"
	"carrel/plan"
)

// Backoff: the first attempt is made at once, and before each further one in a
// row the wait doubles. What stayed done for steadyAfter starts again with the
// first attempt.
const (
	minBackoff  = time.Second
	maxBackoff  = 5 * time.Minute
	steadyAfter = 10 * time.Minute
)

// backoff is how long to wait before an attempt; 1 is the first.
func backoff(attempt int) time.Duration {
	if attempt <= 1 {
		return 0
	}
	wait := minBackoff
	for range attempt - 2 {
		if wait *= 2; wait >= maxBackoff {
			return maxBackoff
		}
	}
	return wait
}

// retry is the attempts at one thing: a change of a workspace, the pull of an
// image, an observation. It is a value; its methods return the next one.
type retry struct {
	key        string    // what is to be achieved; another key starts with the first attempt
	attempt    int       // in a row: the number of the next attempt while it is needed, of the last one afterwards
	needed     bool      // it is needed, and not done yet
	at         time.Time // no attempt before
	done       time.Time // when it last succeeded
	err        string    // of the last attempt; "" when that succeeded
	rolledBack bool      // the last attempt was rolled back
	restart    bool      // it starts a task that should run: it counts as a restart
}

// need is the retry once the thing with this key is needed.
func (r retry) need(key string, now time.Time) retry {
	if r.key != key {
		r = retry{key: key}
	}
	if r.needed {
		return r
	}
	if !r.recent(now) {
		r.attempt = 0
	}
	r.attempt++
	r.needed, r.at = true, now.Add(backoff(r.attempt))
	return r
}

// end is the retry once an attempt has ended.
func (r retry) end(err error, now time.Time) retry {
	if err == nil {
		r.needed, r.done, r.err = false, now, ""
		return r
	}
	var rolledBack *apply.RolledBackError
	r.rolledBack = errors.As(err, &rolledBack)
	r.attempt++
	r.err, r.at = errorText(err), now.Add(backoff(r.attempt))
	if busy, ok := errors.AsType[*plan.BusyError](err); ok && busy.At.After(r.at) {
		r.at = busy.At // earlier it would be refused
	}
	return r
}

// attempts is how many were made in a row while it is needed.
func (r retry) attempts() int { return r.attempt - 1 }

// recent reports whether it was done a short time ago, so that needing it again
// is one more attempt in the same row.
func (r retry) recent(now time.Time) bool {
	return !r.done.IsZero() && now.Sub(r.done) < steadyAfter
}

// errorText is an error without the name of its workspace, which the log and the report have already.
func errorText(err error) string {
	var step *apply.StepError
	if errors.As(err, &step) {
		return fmt.Sprintf("%s: %s", step.Step, step.Err)
	}
	return err.Error()
}

// retries are retries by the name of a workspace or of an image.
type retries map[string]retry

// keepOnly drops the retries of what is not needed any more. Those that were
// done a short time ago stay: the thing may be needed again.
func (all retries) keepOnly(needed map[string]bool, now time.Time) {
	for name, r := range all {
		if needed[name] {
			continue
		}
		r.needed, r.rolledBack = false, false
		all[name] = r
		if !r.recent(now) {
			delete(all, name)
		}
	}
}
