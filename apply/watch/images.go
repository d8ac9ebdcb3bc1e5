package watch

import (
	"maps"

	"carrel/plan/state"
)

// images is what the agent knows of images that registries have. Registries are
// asked in the background: one that does not answer delays no sync.
type images struct {
	answers map[string]state.Source // what registries said, by image
	pulled  map[string]bool         // images that were pulled since
	pulling map[string]bool
}

func newImages() images {
	return images{answers: map[string]state.Source{}, pulled: map[string]bool{}, pulling: map[string]bool{}}
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

// sources is which digests registries have, as far as known: what they said, or
// what was pulled since.
func (i *images) sources(observed state.State) map[string]state.Source {
	all := maps.Clone(i.answers)
	for name := range i.pulled {
		all[name] = state.Source{Digest: observed.Images[name].Digest}
	}
	return all
}
