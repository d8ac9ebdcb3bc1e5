package plan

import (
	"slices"

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
	if image.Source == "" || s.container.Digest == "" || image.Source == s.container.Digest {
		return nil
	}
	return []Field{{Path: "image digest", Old: s.container.Digest, New: image.Source, cost: CostReplace}}
}

// volume adds the step that makes a volume: data that was preserved returns,
// else it gets what the image has.
func (p *planner) volume(s subject, change *Change, image string) {
	if kept, ok := p.preserved[s.name]; ok {
		change.Reasons = append(change.Reasons, "its preserved data returns")
		change.Steps = append(change.Steps, RestoreData{Workspace: s.name, At: kept.At})
		return
	}
	change.Steps = append(change.Steps, CreateVolume{
		Workspace: s.name, Image: image, DataPath: s.want.DataPath, User: s.want.User,
	})
}

// build adds the steps from nothing to a container, and to its task when it
// shall start.
func (p *planner) build(s subject, change *Change, image string, start bool) {
	if !p.volumes[s.name] {
		p.volume(s, change, image)
	}
	change.Steps = append(change.Steps, CreateContainer{
		Container: s.name, Set: p.want.Name, Host: p.now.Host, Image: image, Spec: *s.want,
	})
	if start {
		change.Steps = append(change.Steps, StartTask{Workspace: s.name, Container: s.name})
	}
}

// replace makes a new container in place of the old one. The image is fetched
// first: the old one runs until everything is at hand.
func (p *planner) replace(s subject, change Change) {
	w, c := s.want, s.container
	running := c.Task.Alive()
	if c.Volume == "" {
		p.faults.Add(w.At("dataPath"), "copy what it holds, then delete the container",
			"workspace %s must be replaced (%s), but container %s keeps its data in its root filesystem, and moving that is not supported yet",
			s.name, change.Fields[0], c.ID)
		return
	}
	if w.PreserveData == spec.PreserveNever {
		p.faults.Add(w.At("preserveData"), "set preserveData to Always or OnReplace",
			"workspace %s must be replaced (%s), and preserveData Never would delete its data: that is not supported yet",
			s.name, change.Fields[0])
		return
	}
	for _, f := range change.Fields {
		change.Reasons = append(change.Reasons, f.Path+" changed")
	}
	change.Action, change.Cost = ActionReplace, CostReplace
	change.Previous = previous(c)
	change.Steps = slices.DeleteFunc(change.Steps, func(step Step) bool { _, ok := step.(AdoptContainer); return ok })
	image, ok := p.image(s, &change)
	if !ok {
		return
	}
	if c.Task.Status != TaskNone {
		change.Steps = append(change.Steps, stop(s))
	}
	change.Steps = append(change.Steps, DeleteContainer{Container: c.ID})
	p.build(s, &change, image, w.AutoStart || s.resume || running)
	p.save(s, &change)
	p.add(s, change)
}

// remove takes a workspace away. The policy that counts is the one that was
// applied: deleting a spec cannot take a protection away with it.
func (p *planner) remove(s subject, reason string) {
	applied := applied(s)
	if applied != nil && applied.PreserveData != spec.PreserveAlways && p.volumes[s.name] && s.record != nil {
		p.faults.Add(spec.Pos{}, "describe it again with preserveData Always, apply, then delete it",
			"workspace %s is to be deleted (%s), and preserveData %s would delete its data: that is not supported yet",
			s.name, reason, applied.PreserveData)
		return
	}
	c := s.container
	if c != nil && c.Volume == "" {
		p.faults.Add(spec.Pos{}, "copy what it holds, then delete the container",
			"workspace %s is to be deleted (%s), but container %s keeps its data in its root filesystem, and moving that is not supported yet",
			s.name, reason, c.ID)
		return
	}
	change := Change{Action: ActionDelete, Cost: CostRemoval, Reasons: []string{reason}}
	if c == nil {
		change.Action = ActionForget
		change.Reasons = append(change.Reasons, "container missing in containerd")
	} else if c.Task.Status != TaskNone {
		change.Steps = append(change.Steps, stop(s))
	}
	if p.volumes[s.name] {
		change.Steps = append(change.Steps, PreserveData{Workspace: s.name, At: p.now.Time})
	}
	if c != nil {
		change.Previous = previous(c)
		change.Steps = append(change.Steps, DeleteContainer{Container: c.ID})
	}
	if s.record != nil {
		change.Steps = append(change.Steps, DeleteRecord{Workspace: s.name, Version: s.record.Version})
	}
	p.add(s, change)
}

func (p *planner) save(s subject, change *Change) {
	record := Record{
		Workspace: s.name, Set: p.want.Name, Host: p.now.Host, Source: s.want.Source,
		Container: s.name, Applied: s.want, Held: held(s),
	}
	if s.container != nil && change.Action != ActionReplace {
		record.Container = s.container.ID
	}
	if s.record != nil {
		record.Version = s.record.Version
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

func previous(c *Container) *Previous {
	if c.Applied == nil {
		return nil
	}
	return &Previous{Spec: *c.Applied, Image: c.Image, Running: c.Task.Alive()}
}

var costs = []Cost{CostNone, CostInPlace, CostRestart, CostReplace, CostRemoval, CostDataAtRisk}

func costlier(a, b Cost) Cost {
	return costs[max(slices.Index(costs, a), slices.Index(costs, b))]
}
