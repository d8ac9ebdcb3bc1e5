package watch

import (
	"errors"
	"fmt"
	"time"

	"carrel/apply"
)

// The bounds of doing the same again: at once the first time, then after a
// delay that doubles. What has held for long begins anew.
const (
	firstDelay = time.Second
	mostDelay  = 5 * time.Minute
	steady     = 10 * time.Minute
)

// attempt is what is remembered of something that is wanted again and again: a
// change of a workspace, or an image.
type attempt struct {
	key    string    // what it is to achieve
	tries  int       // in a row
	wanted bool      // and not done yet
	until  time.Time // it is not tried before
	done   time.Time // when it last went well
	failed string    // why it did not, the last time; "" when it did
	back   bool      // it was rolled back, and is left to a person
	mends  bool      // it makes a task run that should
}

// delay is how long to wait before so many tries in a row.
func delay(tries int) time.Duration {
	if tries <= 1 {
		return 0
	}
	d := firstDelay
	for range tries - 2 {
		if d = 2 * d; d >= mostDelay {
			return mostDelay
		}
	}
	return d
}

// want says that it is wanted now. Something else than before begins anew.
func (a attempt) want(key string, now time.Time) attempt {
	if a.key != key {
		a = attempt{key: key}
	}
	if a.wanted {
		return a
	}
	if a.done.IsZero() || now.Sub(a.done) >= steady {
		a.tries = 0
	}
	a.tries++
	a.wanted, a.until = true, now.Add(delay(a.tries))
	return a
}

// end says how a try went.
func (a attempt) end(err error, now time.Time) attempt {
	if err == nil {
		a.wanted, a.done, a.failed = false, now, ""
		return a
	}
	var back *apply.RolledBackError
	a.back = errors.As(err, &back)
	a.tries++
	a.failed, a.until = reasonOf(err), now.Add(delay(a.tries))
	return a
}

// reasonOf is why something failed, without the workspace: that is told with it.
func reasonOf(err error) string {
	var step *apply.StepError
	if errors.As(err, &step) {
		return fmt.Sprintf("%s: %s", step.Step, step.Err)
	}
	return err.Error()
}

// stale reports whether nothing has to be remembered of it when it is not
// wanted.
func (a attempt) stale(now time.Time) bool { return a.done.IsZero() || now.Sub(a.done) >= steady }

// attempts are attempts by the name of a workspace or an image.
type attempts map[string]attempt

// forget drops what is not wanted any more; wanted are those that are.
func (a attempts) forget(wanted map[string]bool, now time.Time) {
	for name, at := range a {
		if wanted[name] {
			continue
		}
		at.wanted, at.back = false, false
		a[name] = at
		if at.stale(now) {
			delete(a, name)
		}
	}
}
