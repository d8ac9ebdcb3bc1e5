package containerd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/opencontainers/runtime-spec/specs-go"

	"carrel/plan/state"
	"carrel/spec"
)

// changedLabels is which of carrel's own labels of a container are not as carrel
// wrote them. The set and the host are known to the records alone.
func changedLabels(c containers.Container, workspace, volume string) []state.Drift {
	var all []state.Drift
	for label, made := range map[string]string{labelWorkspace: workspace, labelVolume: volume} {
		if now := c.Labels[label]; now != made {
			all = append(all, state.Drift{Path: "labels." + label, Made: made, Now: now, Label: true})
		}
	}
	slices.SortFunc(all, func(a, b state.Drift) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// volumeOf is the host folder that a container mounts as its data. The label says
// it; one that names no folder of the container was changed by somebody, or removed,
// and then the OCI spec says it.
func (d *Driver) volumeOf(c containers.Container, applied spec.Workspace) (string, error) {
	label := c.Labels[labelVolume]
	if label == d.volume(applied.Name) {
		return label, nil
	}
	text := valueOf(c.Spec)
	if !asMade(c) {
		var err error
		if text, err = made(c); err != nil {
			return label, err
		}
	}
	if label != "" && mentions(text, label) || label == "" && !mentions(text, applied.DataPath) {
		return label, nil
	}
	var described specs.Spec
	if err := json.Unmarshal(text, &described); err != nil {
		return label, fmt.Errorf("its OCI spec cannot be read: %w", err)
	}
	for _, m := range described.Mounts {
		if m.Type == "bind" && m.Destination == applied.DataPath {
			return m.Source, nil
		}
	}
	return "", nil
}

// mentions reports whether an OCI spec has a value somewhere. Decoding it takes much
// longer.
func mentions(text []byte, value string) bool {
	quoted, err := json.Marshal(value)
	return err == nil && bytes.Contains(text, quoted)
}

// redescribed is how the OCI spec of a container differs from the one that carrel
// made it with, and whether the process of its task was started with something else
// than that. It is nil when nobody has changed it.
func redescribed(c containers.Container, task state.Task) (changed []state.Drift, started bool, err error) {
	if asMade(c) {
		return nil, false, nil
	}
	text, err := made(c)
	if err != nil {
		return nil, false, err
	}
	changed, err = differences(text, valueOf(c.Spec))
	if err != nil {
		return nil, false, err
	}
	if len(changed) == 0 || !task.Alive() {
		return changed, false, nil
	}
	return changed, !startedWith(text, task.PID), nil
}

// startedWith reports whether a task was started with an OCI spec, its limits apart,
// which change while it runs. The one that it was started with is in the working
// folder of its shim. When that cannot be told, the answer is no.
func startedWith(text []byte, pid uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	shim := counter(bytes.ReplaceAll(status, []byte("\t"), []byte(" ")), "PPid:")
	bundle, err := os.ReadFile(fmt.Sprintf("/proc/%d/cwd/config.json", shim))
	if err != nil {
		return false
	}
	changed, err := differences(text, bundle)
	return err == nil && !slices.ContainsFunc(changed, func(d state.Drift) bool { return !isLimit(d.Path) })
}

// isLimit reports whether a path in an OCI spec is one of the limits of specs.
func isLimit(path string) bool {
	for _, kind := range []string{"cpu", "memory", "pids"} {
		if path == pathPrefix+"linux.resources."+kind || strings.HasPrefix(path, pathPrefix+"linux.resources."+kind+".") {
			return true
		}
	}
	return false
}

// pathPrefix is before paths in an OCI spec, which look like those of specs.
const pathPrefix = "oci."

// maxValue is how long a value is shown; longer ones are cut.
const maxValue = 80

// differences are the parts of an OCI spec that are not as they were made, sorted by
// path. Variables, mounts and namespaces are told apart by name.
func differences(made, now []byte) ([]state.Drift, error) {
	before, err := parts(made)
	if err != nil {
		return nil, fmt.Errorf("the OCI spec that it was made with cannot be read: %w", err)
	}
	after, err := parts(now)
	if err != nil {
		return []state.Drift{{Path: pathPrefix[:len(pathPrefix)-1], Made: "as it was made", Now: "no OCI spec"}}, nil
	}
	var all []state.Drift
	paths := maps.Clone(before)
	maps.Copy(paths, after)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		was, had := before[path]
		is, has := after[path]
		if had == has && reflect.DeepEqual(was, is) {
			continue
		}
		d := state.Drift{Path: pathPrefix + path, Made: value(path, was, had), Now: value(path, is, has)}
		if d.Made == d.Now {
			d.Now = "(another value)"
		}
		all = append(all, d)
	}
	return all, nil
}

// value is a part of an OCI spec as people read it. Values of variables may be secret.
func value(path string, v any, there bool) string {
	switch {
	case !there:
		return ""
	case strings.HasPrefix(path, "process.env."):
		return "(a value)"
	}
	text, ok := v.(string)
	if !ok {
		text = asJSON(v)
	}
	if mount, ok := v.(map[string]any); ok && mount["source"] != nil {
		text = fmt.Sprintf("%s %v", mount["source"], mount["options"])
	}
	if len(text) > maxValue {
		return strings.ToValidUTF8(text[:maxValue], "") + "..."
	}
	return text
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "(a value)"
	}
	return string(text)
}

// parts are the values of an OCI spec by their paths. Empty values are left out: they
// mean the same as none.
func parts(text []byte) (map[string]any, error) {
	var tree map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	all := map[string]any{}
	addParts(all, "", tree)
	return all, nil
}

func addParts(all map[string]any, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			addParts(all, strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		addList(all, path, v)
	case nil:
	default:
		all[path] = v
	}
}

// addList adds a list as a whole, except those whose elements have names.
func addList(all map[string]any, path string, list []any) {
	key := map[string]string{"mounts": "destination", "linux.namespaces": "type", "linux.devices": "path"}[path]
	for _, element := range list {
		switch e := element.(type) {
		case string:
			if name, value, ok := strings.Cut(e, "="); ok && path == "process.env" {
				all[unused(all, path+"."+name)] = value
				continue
			}
		case map[string]any:
			if name, ok := e[key].(string); ok {
				all[unused(all, path+"."+name)] = e
				continue
			}
		}
		all[path] = list
	}
}

// unused is a path, or one like it when a list has two elements of that name.
func unused(all map[string]any, path string) string {
	for all[path] != nil {
		path += " (again)"
	}
	return path
}
