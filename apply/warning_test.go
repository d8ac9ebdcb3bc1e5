package apply_test

import (
	"context"
	"testing"

	"carrel/apply"
	"carrel/plan"
)

// warning is a network whose detaching leaves something.
type warning struct{ apply.Network }

func (n warning) DetachNetwork(ctx context.Context, s plan.DetachNetwork) error {
	if err := n.Network.DetachNetwork(ctx, s); err != nil {
		return err
	}
	return &plan.Warning{Text: "an address is left"}
}

func TestAWarningIsNoFailure(t *testing.T) {
	w := newWorld(t)
	w.wish(with("agent:v1", onCNI))
	w.mustApply()
	w.wish()
	runner := w.runner()
	runner.Network = warning{runner.Network}
	var warned []string
	runner.Report = func(e apply.Event) {
		if e.Kind == apply.Warned {
			warned = append(warned, e.Step.String()+": "+e.Err.Error())
		}
	}
	if err := runner.Run(t.Context(), w.plan()); err != nil {
		t.Fatal(err)
	}
	if len(warned) != 1 || warned[0] != "detach network of bot: an address is left" {
		t.Errorf("warnings: %q", warned)
	}
	noted := func() bool {
		for _, e := range w.History() {
			if e.Error == "warning: an address is left" {
				return true
			}
		}
		return false
	}
	if !noted() {
		t.Error("the history has no warning")
	}
	if p := w.plan(); !p.Empty() {
		t.Error("there is still something to do")
	}
}
