package plan

import (
	"encoding/json"
	"slices"
	"time"
)

// Agent is what the agent that watches a set on a host says of itself: to the
// store, to status, and on its page. Lists are by workspace, or by place.
type Agent struct {
	Host      string    `json:"host"`
	Boot      string    `json:"boot,omitempty"` // id of the boot of its kernel, which tells machines of one name apart; "" when unknown
	Set       string    `json:"set"`
	Version   string    `json:"version"` // of the program
	Paths     []string  `json:"paths"`   // that it watches, absolute
	StartedAt time.Time `json:"startedAt"`
	SeenAt    time.Time `json:"seenAt"`   // when it said this
	LookedAt  time.Time `json:"lookedAt"` // when it last compared the specs with the host; zero when it could not yet

	// Trouble is why it cannot look or change anything now, in one line; ""
	// when it can.
	Trouble string `json:"trouble,omitempty"`

	Working []string  `json:"working"` // workspaces that are being changed by name, and images that are being fetched as "image NAME"
	Pending []Pending `json:"pending"`
	Waiting []Waiting `json:"waiting"`
	Faults  []Fault   `json:"faults"`
	Notes   []string  `json:"notes"` // of the last plan
}

// Pending is a change that an agent does not make: a person has to.
type Pending struct {
	Workspace string `json:"workspace"`
	Action    Action `json:"action"`
	Why       string `json:"why"` // it waits, and what to do
}

// Waiting is a change, or the fetching of an image, that failed or had to be
// done again too often, and that is tried again later.
type Waiting struct {
	Workspace string    `json:"workspace,omitempty"` // "" of an image
	Image     string    `json:"image,omitempty"`     // "" of a workspace
	Why       string    `json:"why"`
	Tries     int       `json:"tries"` // so far, in a row
	Until     time.Time `json:"until"` // the next try
}

// Fault is why a spec, or a part of it, is not applied.
type Fault struct {
	Place string    `json:"place"` // file:line:col; "" when it is of no file
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// Report is everything that an agent knows, for people and programs that ask
// it itself.
type Report struct {
	Agent
	Workspaces []Status `json:"workspaces"` // as they were at LookedAt
	Recent     []Recent `json:"recent"`     // changes that were carried out, newest first
}

// Recent is a change that was carried out.
type Recent struct {
	Time      time.Time     `json:"time"` // of its end
	Workspace string        `json:"workspace"`
	Action    Action        `json:"action"`
	Reason    string        `json:"reason"`
	Duration  time.Duration `json:"duration"` // nanoseconds
	Error     string        `json:"error,omitempty"`
}

// EncodeState is the form in which the observation of a host is kept for
// others. Of the records it has those of that host, as they were then.
func EncodeState(now State) ([]byte, error) {
	now.Records = slices.DeleteFunc(slices.Clone(now.Records), func(r Record) bool { return r.Host != now.Host })
	return json.Marshal(now)
}

// DecodeState reads what EncodeState wrote. The records of other hosts are those
// that the store has.
func DecodeState(text []byte, records []Record) (State, error) {
	var now State
	if err := json.Unmarshal(text, &now); err != nil {
		return now, err
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
