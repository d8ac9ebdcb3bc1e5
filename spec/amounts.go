package spec

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"carrel/spec/document"
)

// The bounds of what is written as an amount.
const (
	maxGrace  = time.Hour // that a task may take to end
	minMemory = 4 << 20   // what the runtime itself needs to start a process
	minCPU    = 10        // thousandths of a core: a millisecond in each period, the least that the kernel takes
	maxCPU    = 1_000_000 // cores: more than any host has
)

// checkAmounts checks the amounts in a spec at a path, and makes them the text
// that they are decoded from: YAML may have read a number.
func checkAmounts(path string, body *document.Node, errs *Errors) {
	body.Get("user").AsText()
	CheckLimits(path+".resources.limits", body.Get("resources", "limits"), errs)
	grace := body.Get("stop", "gracePeriod")
	if text, ok := grace.AsText(); ok {
		if d, err := time.ParseDuration(text); err != nil || d < 0 || d > maxGrace {
			grace.Reject(errs, `write a time such as "10s" or "2m", at most 1h`, "%s.stop.gracePeriod is %q", path, text)
		}
	}
}

// CheckLimits checks the amounts in the limits at a path of a document, and
// makes them the text that Limits are decoded from.
func CheckLimits(path string, limits *document.Node, errs *Errors) {
	for _, name := range []string{"cpu", "memory"} {
		limit := limits.Get(name)
		if text, ok := limit.AsText(); ok {
			if what, hint := wrongAmount(name, text); hint != "" {
				limit.Reject(errs, hint, "%s.%s is %q%s", path, name, text, what)
			}
		}
	}
}

// wrongAmount says what is wrong with an amount of cpu or memory, and what to do
// about it. The hint is empty when nothing is wrong.
func wrongAmount(name, text string) (what, hint string) {
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
	case name == "cpu" && q.MilliValue() < minCPU:
		return ": less than the kernel can give", "write at least 10m"
	case name == "memory" && q.Value() < minMemory:
		return ": too little for any process", "did you forget a unit, such as Mi?"
	}
	return "", ""
}
