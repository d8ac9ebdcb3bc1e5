package spec

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// The bounds of what is written as an amount.
const (
	maxGrace  = time.Hour // that a task may take to end
	minMemory = 4 << 20   // what the runtime itself needs to start a process
	maxCPU    = 1_000_000 // cores: more than any host has
)

// quantities checks the amounts in a spec at a path, and gives them the text
// that they are decoded from: YAML may have read a number.
func quantities(path string, body *tree, faults *Errors) {
	if user := body.get("user"); user != nil && !user.broken {
		user.scalar = user.raw
	}
	limits(path+".resources.limits", body.get("resources", "limits"), faults)
	if t := body.get("stop", "gracePeriod"); t != nil && !t.broken {
		t.scalar = t.raw
		if d, err := time.ParseDuration(t.raw); err != nil || d < 0 || d > maxGrace {
			faults.Add(t.at, `write a time such as "10s" or "2m", at most 1h`, "%s.stop.gracePeriod is %q", path, t.raw)
			t.broken = true
		}
	}
}

// limits does it for the limits at a path.
func limits(path string, body *tree, faults *Errors) {
	for _, name := range []string{"cpu", "memory"} {
		t := body.get(name)
		if t == nil || t.broken {
			continue
		}
		t.scalar = t.raw
		if what, hint := wrongQuantity(name, t.raw); hint != "" {
			faults.Add(t.at, hint, "%s.%s is %q%s", path, name, t.raw, what)
			t.broken = true
		}
	}
}

// wrongQuantity says what is wrong with an amount of cpu or memory, and what to
// do about it: no hint is no fault.
func wrongQuantity(name, text string) (what, hint string) {
	most := resource.NewQuantity(maxCPU, resource.DecimalSI)
	if name == "memory" {
		most = resource.NewQuantity(math.MaxInt64/2, resource.BinarySI)
	}
	q, err := resource.ParseQuantity(text)
	switch {
	case err != nil && name == "cpu":
		return "", `write a number of cores, such as "2" or "500m"`
	case err != nil:
		return "", `write a size, such as "4Gi" or "512Mi"`
	case q.Sign() <= 0:
		return ", and must be more than nothing", "leave it out for no limit"
	case q.Cmp(*most) > 0:
		return ": more than any host has", "leave it out for no limit"
	case name == "memory" && q.Value() < minMemory:
		return ": too little for any process", "did you forget a unit, such as Mi?"
	}
	return "", ""
}
