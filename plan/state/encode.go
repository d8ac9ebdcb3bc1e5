package state

import (
	"encoding/json"
	"fmt"
	"slices"

	"carrel/spec"
)

// AppliedVersion is the version of the form in which an applied spec is kept.
const AppliedVersion = 1

// EncodeSpec is the form in which an applied spec is kept, in the container
// and in the record.
func EncodeSpec(w spec.Workspace) ([]byte, error) {
	return json.Marshal(encodedSpec{AppliedVersion, w})
}

// DecodeSpec reads what EncodeSpec wrote. A field that the writer did not know
// gets its default. A form newer than this program is an error.
func DecodeSpec(text []byte) (*spec.Workspace, error) {
	var form encodedSpec
	if err := json.Unmarshal(text, &form); err != nil {
		return nil, fmt.Errorf("applied spec: %w", err)
	}
	if form.Version > AppliedVersion {
		return nil, fmt.Errorf("applied spec has version %d, this carrel knows %d (use the newer carrel)", form.Version, AppliedVersion)
	}
	return &form.Spec, nil
}

type encodedSpec struct {
	Version int            `json:"version"`
	Spec    spec.Workspace `json:"spec"`
}

// ObservationVersion is the version of the form in which an observation is
// kept. It grows when the meaning or the name of a field changes.
const ObservationVersion = 2

// VersionError is an observation that a carrel with another form wrote.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("its observation has version %d, this carrel reads %d (run the same carrel on all hosts)", e.Version, ObservationVersion)
}

type encodedState struct {
	Version int   `json:"version"`
	State   State `json:"state"`
}

// Encode is the form in which the observation of a host is kept in a shared
// store. Of the records it has those of that host, as they were then.
func Encode(now State) ([]byte, error) {
	now.Records = slices.DeleteFunc(slices.Clone(now.Records), func(r Record) bool { return r.Host != now.Host })
	return json.Marshal(encodedState{ObservationVersion, now})
}

// Decode reads what Encode wrote. The records of other hosts are those that
// the store has now. An observation of another version is a *VersionError: its
// fields may mean something else.
func Decode(text []byte, records []Record) (State, error) {
	var form struct {
		Version int             `json:"version"`
		State   json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return State{}, fmt.Errorf("observation: %w", err)
	}
	if form.Version != ObservationVersion {
		return State{}, &VersionError{form.Version}
	}
	var now State
	if err := json.Unmarshal(form.State, &now); err != nil {
		return State{}, fmt.Errorf("observation: %w", err)
	}
	own := map[string]bool{}
	for _, r := range now.Records {
		own[r.Workspace] = true
	}
	for _, r := range records {
		if r.Host != now.Host && !own[r.Workspace] {
			now.Records = append(now.Records, r)
		}
	}
	return now, nil
}
