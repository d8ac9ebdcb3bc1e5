package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"carrel/plan/decide"
	"carrel/spec"
)

// ID names the plan by its content: the same changes to the same end have the
// same id, whenever and wherever they are planned.
func (p Plan) ID() string {
	type change struct {
		Workspace string
		Action    decide.Action
		Cost      decide.Cost
		Fields    []decide.Field
		Steps     []string
		Desired   *spec.Workspace
	}
	content := struct {
		Set, Host string
		Changes   []change
	}{Set: p.Set, Host: p.Host}
	for _, c := range p.Changes { // reasons tell how long ago something was: they are left out
		one := change{c.Workspace, c.Action, c.Cost, c.Fields, nil, c.desired}
		for _, s := range c.Steps {
			one.Steps = append(one.Steps, StepName(s)+" "+s.String())
		}
		content.Changes = append(content.Changes, one)
	}
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // strings, numbers and lists of them cannot fail to encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// IsID reports whether a word has the form of a plan's id.
func IsID(word string) bool {
	sum, err := hex.DecodeString(word)
	return err == nil && len(sum) == 6
}
