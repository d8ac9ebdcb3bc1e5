package apply_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"carrel/apply"
	"carrel/plan"
	"carrel/spec"
)

// TestPortsThatAreGivenUp: the one that takes a port comes first by name.
func TestPortsThatAreGivenUp(t *testing.T) {
	for _, parallel := range []int{1, 4} {
		w := newWorld(t)
		named := func(name string, ports ...int) spec.Workspace {
			one := with("agent:v1", onCNI)
			one.Name = name
			for _, port := range ports {
				publishing(port)(&one)
			}
			return one
		}
		w.wish(named("a"), named("b", 80))
		w.mustApply()
		w.wish(named("a", 80), named("b"))
		var order []string
		runner := w.runner()
		runner.Parallel = parallel
		runner.Report = func(e apply.Event) {
			if e.Kind == apply.Done {
				order = append(order, e.Step.String())
			}
		}
		if err := runner.Run(t.Context(), w.plan()); err != nil {
			t.Fatal(err)
		}
		taken, free := slices.Index(order, "attach network of a with ports :80->80/tcp"), slices.Index(order, "detach network of b")
		if free < 0 || taken < free {
			t.Errorf("steps:\n%s", strings.Join(order, "\n"))
		}
		// They exchange their ports: one has to be first.
		w.wish(named("a", 80), named("b", 81))
		w.mustApply()
		w.wish(named("a", 81), named("b", 80))
		w.mustApply()
		if p := w.plan(); !p.Empty() {
			t.Error("there is still something to do")
		}
	}
}

func TestAPortThatIsNotGivenUp(t *testing.T) {
	w := newWorld(t)
	b := with("agent:v1", publishing(80))
	b.Name = "b"
	w.wish(workspace("a", "agent:v1"), b)
	w.mustApply()
	a := with("agent:v1", publishing(80))
	a.Name, b.Network.Ports = "a", nil
	w.wish(a, b)
	p := w.plan()
	err := w.runner().Run(t.Context(), p.Only(func(c plan.Change) bool { return c.Workspace == "a" }))
	if err == nil || !strings.Contains(err.Error(), "is still that of b (apply that change first)") {
		t.Errorf("error: %v", err)
	}
	runner := w.runner()
	runner.Network = refusing{runner.Network}
	err = runner.Run(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), "is still that of b, whose change has failed") {
		t.Errorf("error: %v", err)
	}
	w.mustApply()
}

// refusing is a network that detaches nothing.
type refusing struct{ apply.Network }

func (refusing) DetachNetwork(context.Context, plan.DetachNetwork) error {
	return errors.New("refused")
}
