package plan

import (
	"slices"

	"carrel/plan/state"
	"carrel/spec"
)

// image adds the step that brings the image here when it is needed, and gives
// the name it then has in containerd. False means that it cannot be had.
func (p *planner) image(s subject, change *Change) (name string, ok bool) {
	w, image := s.want, p.now.Images[s.want.Image]
	here := image.Digest != ""
	path, archive := w.Archive()
	switch {
	case w.ImagePullPolicy == spec.PullNever && !here:
		p.faults.Add(w.At("image"), "pull it, or set imagePullPolicy to IfNotPresent",
			"image %s is not on this host and imagePullPolicy is Never", w.Image)
		return "", false
	case archive && !here && image.Err != "":
		p.faults.Add(w.At("image"), "", "image archive %s: %s", path, image.Err)
		return "", false
	case archive && !here:
		change.Steps = append(change.Steps, ImportImage{Path: path, Digest: image.Source, Name: image.Name})
	case !archive && (!here || w.ImagePullPolicy == spec.PullAlways && image.Digest != image.Source):
		change.Steps = append(change.Steps, PullImage{Image: w.Image})
	}
	if image.Name == "" {
		return w.Image, true
	}
	return image.Name, true
}

// movedImage is the difference when the image has the same name in the spec
// and another content at its source.
func (p *planner) movedImage(s subject) []Field {
	if s.container.Applied == nil || s.container.Applied.Image != s.want.Image {
		return nil
	}
	image := p.now.Images[s.want.Image]
	if image.Err != "" {
		p.note("%s: cannot tell whether image %s has moved: %s", s.name, s.want.Image, image.Err)
	}
	_, archive := s.want.Archive()
	asked := archive || s.want.ImagePullPolicy == spec.PullAlways // another workspace of the same image may have
	if !asked || image.Source == "" || s.container.Digest == "" || image.Source == s.container.Digest {
		return nil
	}
	return []Field{{Path: "image digest", Old: s.container.Digest, New: image.Source, cost: CostReplace}}
}

// build adds the steps from nothing to a container, and to its task when it
// shall start.
func (p *planner) build(s subject, change *Change, image string, start bool) {
	if _, discarded := p.recoverable(s); discarded || !p.volumes[s.name] {
		p.volume(s, change, image)
	}
	change.Steps = append(change.Steps, CreateContainer{
		Container: s.name, Set: p.want.Name, Host: p.now.Host, Image: image, Spec: *s.want,
	})
	if start {
		p.start(s, change, s.want.Network, s.name)
	} else {
		p.detach(s, change)
	}
}

// replace makes a new container in place of the old one. The image is fetched
// first: the old one runs until everything is at hand.
func (p *planner) replace(s subject, applied spec.Workspace, change Change) {
	w, c := s.want, s.container
	running := c.Task.Alive()
	for _, f := range change.Fields {
		change.because(f.Path + " changed")
	}
	change.Action, change.Cost = ActionReplace, CostReplace
	change.Previous = previous(c, applied)
	image, ok := p.image(s, &change)
	if !ok {
		return
	}
	if c.Task.Status != state.TaskNone {
		change.Steps = append(change.Steps, stop(s))
	}
	if !p.bound(c, s.name) {
		p.migrate(s, &change, w.DataPath)
	} else if applied.PreserveData == spec.PreserveNever && w.PreserveData == spec.PreserveNever && !p.back {
		p.discard(s, &change, w.PreserveData)
	}
	change.Steps = append(change.Steps, DeleteContainer{Container: c.ID})
	p.build(s, &change, image, w.AutoStart || s.resume || running)
	p.save(s, &change)
	p.add(s, change)
}

// remove takes a workspace away.
func (p *planner) remove(s subject, reason string) {
	c := s.container
	change := Change{Action: ActionDelete, Cost: CostRemoval, Reasons: []string{reason}}
	if c == nil {
		change.Action = ActionForget
		change.Reasons = append(change.Reasons, "container missing in containerd")
	} else if c.Task.Status != state.TaskNone {
		change.Steps = append(change.Steps, stop(s))
	}
	p.detach(s, &change)
	p.setAside(s, &change)
	if c != nil {
		if c.Applied != nil {
			change.Previous = previous(c, *c.Applied)
		}
		change.Steps = append(change.Steps, DeleteContainer{Container: c.ID})
	}
	if s.record != nil {
		change.Steps = append(change.Steps, DeleteRecord{Workspace: s.name, Version: s.record.Version})
	}
	p.add(s, change)
}

func (p *planner) save(s subject, change *Change) {
	record := state.Record{
		Workspace: s.name, Set: p.want.Name, Host: p.now.Host, Source: s.want.Source,
		Container: s.name, Applied: s.want, StoppedByUser: held(s),
	}
	if s.container != nil && change.Action != ActionReplace {
		record.Container = s.container.ID
	}
	if s.record != nil {
		record.Version = s.record.Version
	}
	if s.record != nil && record.Source == "" { // the wish of a rollback comes from no file
		record.Source = s.record.Source
	}
	change.Steps = append(change.Steps, SaveRecord{Record: record})
}

func stop(s subject) StopTask {
	step := StopTask{Container: s.container.ID, GracePeriod: spec.Default().Stop.GracePeriod}
	if w := applied(s); w != nil {
		step.Signal, step.GracePeriod = w.Stop.Signal, w.Stop.GracePeriod
	}
	return step
}

// applied is the spec that was applied last, as the container says, or else
// the record.
func applied(s subject) *spec.Workspace {
	if s.container != nil && s.container.Applied != nil {
		return s.container.Applied
	}
	if s.record != nil {
		return s.record.Applied
	}
	return nil
}

func previous(c *state.Instance, applied spec.Workspace) *Previous {
	return &Previous{Spec: applied, Image: c.Image, Running: c.Task.Alive()}
}

var costs = []Cost{CostNone, CostInPlace, CostRestart, CostReplace, CostRemoval, CostDataAtRisk}

func costlier(a, b Cost) Cost {
	return costs[max(slices.Index(costs, a), slices.Index(costs, b))]
}
