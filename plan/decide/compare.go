package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"carrel/spec"
)

// Field is one difference between the spec that was applied and the one that
// is wanted. Values that may be secret are hidden. For a new workspace it is a
// setting that differs from the default, and Old is "".
type Field struct {
	Path string `json:"path"`
	Old  string `json:"old"`
	New  string `json:"new"`

	// Drift is whether the field was applied as it is wanted, and somebody has
	// changed it on the host since.
	Drift bool `json:"changedOnHost,omitempty"`

	cost Cost
}

func (f Field) String() string {
	switch {
	case f.Old == "":
		return f.Path + ": " + f.New
	case f.Drift:
		return fmt.Sprintf("%s: %s -> %s (changed on the host)", f.Path, f.Old, f.New)
	}
	return fmt.Sprintf("%s: %s -> %s", f.Path, f.Old, f.New)
}

// Reason is the field as a reason for a change.
func (f Field) Reason() string {
	if f.Drift {
		return f.Path + " was changed on the host"
	}
	return f.Path + " changed"
}

// fields collects differences.
type fields []Field

func (f *fields) add(cost Cost, path, before, after string) {
	if before != after {
		*f = append(*f, Field{Path: path, Old: shown(before), New: shown(after), cost: cost})
	}
}

// compare says field by field how the wanted spec differs from the applied
// one. Name and source are not compared: they say which workspace it is and
// where it is described.
func compare(applied, want spec.Workspace) []Field {
	var f fields
	f.maps(CostInPlace, "labels", applied.Labels, want.Labels)
	f.add(CostReplace, "image", applied.Image, want.Image)
	f.add(CostInPlace, "imagePullPolicy", string(applied.ImagePullPolicy), string(want.ImagePullPolicy))
	f.add(CostInPlace, "autoStart", fmt.Sprint(applied.AutoStart), fmt.Sprint(want.AutoStart))
	f.add(CostReplace, "devices", list(applied.Devices), list(want.Devices))
	f.add(CostInPlace, "preserveData", string(applied.PreserveData), string(want.PreserveData))
	f.add(CostReplace, "dataPath", applied.DataPath, want.DataPath)
	f.add(CostReplace, "command", list(applied.Command), list(want.Command))
	f.add(CostReplace, "args", list(applied.Args), list(want.Args))
	f.add(CostReplace, "workingDir", applied.WorkingDir, want.WorkingDir)
	f.add(CostReplace, "user", applied.User, want.User)
	f.env(applied.Env, want.Env)
	f.maps(CostReplace, "mounts", mounts(applied.Mounts), mounts(want.Mounts))
	f.add(CostReplace, "network.mode", string(applied.Network.Mode), string(want.Network.Mode))
	f.add(CostReplace, "network.ports", Ports(applied.Network.Ports), Ports(want.Network.Ports))
	f.limits(applied.Resources.Limits, want.Resources.Limits)
	f.add(CostInPlace, "stop.signal", applied.Stop.Signal, want.Stop.Signal)
	f.add(CostInPlace, "stop.gracePeriod", applied.Stop.GracePeriod.String(), want.Stop.GracePeriod.String())
	f.add(CostInPlace, "host", applied.Host, want.Host)
	return f
}

// described is what a spec says beyond the defaults.
func described(want spec.Workspace) []Field {
	all := compare(spec.Default(), want)
	for i := range all {
		all[i].Old, all[i].cost = "", CostNone
	}
	return all
}

func (f *fields) maps(cost Cost, path string, before, after map[string]string) {
	keys := map[string]bool{}
	for key := range before {
		keys[key] = true
	}
	for key := range after {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		f.add(cost, path+"."+key, before[key], after[key])
	}
}

// env compares variables by name; their order means nothing.
func (f *fields) env(applied, want []spec.EnvVar) {
	before, after := values(applied), values(want)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		value, kept := after[name]
		switch {
		case !kept:
			*f = append(*f, Field{Path: "env." + name, Old: hidden, New: unset, cost: CostReplace})
		case value != before[name]:
			*f = append(*f, Field{Path: "env." + name, Old: hidden, New: "(another value)", cost: CostReplace})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, had := before[name]; !had {
			*f = append(*f, Field{Path: "env." + name, Old: unset, New: hidden, cost: CostReplace})
		}
	}
}

func (f *fields) limits(applied, want spec.Limits) {
	f.add(CostInPlace, "resources.limits.cpu", quantity(applied.CPU), quantity(want.CPU))
	f.add(CostInPlace, "resources.limits.memory", quantity(applied.Memory), quantity(want.Memory))
	f.add(CostInPlace, "resources.limits.pids", fmt.Sprint(applied.Pids), fmt.Sprint(want.Pids))
}

const (
	hidden = "(a value)"
	unset  = "(unset)"
)

func shown(value string) string {
	if value == "" {
		return unset
	}
	return value
}

func quantity[T interface {
	~int64
	fmt.Stringer
}](amount T) string {
	if amount == 0 {
		return ""
	}
	return amount.String()
}

func list(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", words)
}

func values(env []spec.EnvVar) map[string]string {
	byName := make(map[string]string, len(env))
	for _, v := range env {
		byName[v.Name] = v.Value
	}
	return byName
}

func mounts(all []spec.Mount) map[string]string {
	byTarget := make(map[string]string, len(all))
	for _, m := range all {
		byTarget[m.Target] = m.Source
		if m.ReadOnly {
			byTarget[m.Target] += " (read-only)"
		}
	}
	return byTarget
}

func Ports(all []spec.Port) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = fmt.Sprintf("%s:%d->%d/%s", p.HostIP, p.Host, p.Container, p.Protocol)
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// costOf is the cost of a change with these fields: a replace if any needs one.
func costOf(all []Field) Cost {
	if slices.ContainsFunc(all, func(f Field) bool { return f.cost == CostReplace }) {
		return CostReplace
	}
	if len(all) > 0 {
		return CostInPlace
	}
	return CostNone
}
