package watch

import (
	"errors"
	"maps"
	"time"

	"carrel/plan/state"
)

// images is what the agent knows of images that registries have. Registries are
// asked in the background: one that does not answer delays no sync.
type images struct {
	answers map[string]state.Source // what registries said, by image
	pulled  map[string]bool         // images that were pulled since
	pulling map[string]bool

	asking retry     // of registries that did not tell what is asked
	askAt  time.Time // when they are asked again without the others; zero when all told, and while they are asked
}

func newImages() images {
	return images{answers: map[string]state.Source{}, pulled: map[string]bool{}, pulling: map[string]bool{}, asking: retry{attempt: 1}}
}

// update takes the answers of registries, and reports whether they are new. They
// are nil when no registry could be asked.
func (i *images) update(answers map[string]state.Source) bool {
	if answers == nil || maps.Equal(answers, i.answers) && len(i.pulled) == 0 {
		return false
	}
	i.answers, i.pulled = answers, map[string]bool{}
	return true
}

// retry decides when registries are asked again: after a backoff when one of them did
// not tell, and not before a time that one of them said.
func (i *images) retry(answers map[string]state.Source, now time.Time) {
	i.askAt = time.Time{}
	var errs []error
	var busy time.Time
	for _, answer := range answers {
		if answer.Err != "" {
			errs = append(errs, errors.New(answer.Err))
		}
		if answer.Busy.After(busy) {
			busy = answer.Busy
		}
	}
	if len(errs) == 0 {
		i.asking = retry{attempt: 1}
		return
	}
	i.asking = i.asking.end(errors.Join(errs...), now)
	i.askAt = i.asking.at
	if busy.After(i.askAt) {
		i.askAt = busy
	}
}

// due reports whether registries are to be asked again.
func (i *images) due(now time.Time) bool { return !i.askAt.IsZero() && !now.Before(i.askAt) }

// sources is which digests registries have, as far as known: what they said, or
// what was pulled since.
func (i *images) sources(observed state.State) map[string]state.Source {
	all := maps.Clone(i.answers)
	for name := range i.pulled {
		all[name] = state.Source{Digest: observed.Images[name].Digest}
	}
	return all
}
