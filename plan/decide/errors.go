package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"carrel/plan/state"
	"carrel/spec"
)

// impossible is why this host cannot give a workspace what its spec asks for,
// each reason at its place in the spec.
func (f Frame) impossible(s Subject) (errs spec.Errors) {
	w := s.Desired
	for _, p := range s.ports {
		port := w.Network.Ports[p.index]
		errs.Add(w.At(at("network.ports", p.index)), "choose another port",
			"port %d/%s of the host is published by workspace %s of set %s", port.Host, port.Protocol, p.by.Workspace, p.by.Set)
	}
	for i, p := range w.Network.Ports {
		if f.Now.IPv4Only && strings.Contains(p.HostIP, ":") {
			errs.Add(w.At(at("network.ports", i)+".hostIP"), "choose an IPv4 address, or take hostIP out",
				"port %s cannot be published: the network of this host has no IPv6", p.OnHost())
		}
	}
	for i, name := range w.Devices {
		if _, here := f.Now.Devices.Found[name]; !here {
			errs.Add(w.At(at("devices", i)), listDevices(f.Now.Devices), "this host has no device %q", name)
		}
	}
	f.wrongMounts(*w, &errs)
	if why := f.noNetwork(s); why != "" {
		errs.Add(w.At("network"), "", "its process would have no network: %s", why)
	}
	c, name := s.Instance, w.At("metadata.name")
	switch {
	case c == nil && s.Applied() == nil && w.Network.Mode == spec.NetworkCNI && s.Name == shortName(f.Now.Host):
		errs.Add(name, "give it another name", "%s is the name of this host, which the other workspaces of the set could no longer reach", s.Name)
	case c != nil && c.Unreadable != "":
		errs.Add(name, "", "container %s: %s", c.ID, c.Unreadable)
	case c != nil && c.Workspace == "" && c.Applied == nil && s.Data.Volume:
		errs.Add(name, freeName, "container %s is not carrel's, and workspace %s has a volume on this host", c.ID, s.Name)
	case s.volumeLost():
		lost := s.Name
		if s.renaming {
			lost = s.From.Name
		}
		errs.Add(name, f.regain(s, lost), "the volume of workspace %s, %s/%s, is missing", lost, f.Now.VolumesDir, lost)
	}
	return errs
}

// noNetwork is why a process that runs must not be ended: it is to be attached anew,
// and that is not possible now. "" when it is, or when nothing runs.
func (f Frame) noNetwork(s Subject) string {
	wanted := s.Desired.Network
	same := s.Network.Attached && Ports(s.Network.Ports) == Ports(wanted.Ports)
	if wanted.Mode != spec.NetworkCNI || same || s.Instance == nil || !s.Instance.Task.Alive() {
		return ""
	}
	if len(wanted.Ports) > 0 {
		return f.Now.NoPorts
	}
	return f.Now.NoNetwork
}

// shortName is a host name without its domain.
func shortName(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}

// wrongMounts reports what the mounts of a workspace need and the host does not have.
func (f Frame) wrongMounts(w spec.Workspace, errs *spec.Errors) {
	for i, m := range w.Mounts {
		if f.Now.Absent[m.Source] {
			errs.Add(w.At(at("mounts", i)+".source"), "create it, or correct the path", "this host has no %s", m.Source)
		}
	}
	for _, p := range w.MountPoints() {
		if f.Now.Absent[p.Path] && !f.Now.Absent[p.Within.Source] {
			errs.Add(w.At(p.Field), "create "+p.Path+", or choose another path",
				"%s is within %s, which is mounted read-only from %s, and that has no such path", p.Target, p.Within.Target, p.Within.Source)
		}
	}
}

// freeName is what to do about a container that carrel did not make: its data may be
// in it, and nowhere else.
const freeName = "save what is needed from that container and delete it, or choose another name"

// regain is what to do about the missing volume of a workspace, in the order in which
// a person should try it. It names only data that there is.
func (f Frame) regain(s Subject, lost string) string {
	ways := "mount or bring back what is missing"
	for _, key := range f.Now.Snapshots {
		if prefix, of := strings.CutSuffix(key, lost); of {
			ways += fmt.Sprintf(", or, if its data is in root filesystem %s, pass --adopt-prefix %s", key, prefix)
		}
	}
	if !s.Data.Preserved.IsZero() || s.Data.Others != "" {
		ways += ", or take preserved data with carrel data restore " + lost
	}
	return ways + fmt.Sprintf("; only when the data is lost, begin with new data: carrel delete %s, then apply", lost)
}

func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// MaxNamed is how many names a hint lists.
const MaxNamed = 8

// listDevices says which devices a host has, and where they were searched.
func listDevices(here state.Devices) string {
	names := slices.Sorted(maps.Keys(here.Found))
	has := "it has none"
	switch {
	case len(names) > MaxNamed:
		has = fmt.Sprintf("carrel devices lists its %d", len(names))
	case len(names) > 0:
		has = "it has " + strings.Join(names, ", ")
	}
	return has + "; searched " + strings.Join(here.Folders, ", ")
}

// fetchImage decides how the image of a new instance comes to the host, and that
// nothing is in the way of the instance.
func (f Frame) fetchImage(d *Decision) {
	w, image := d.Desired, d.Image
	here := image.Digest != ""
	file, archive := w.Archive()
	switch {
	case w.ImagePullPolicy == spec.PullNever && !here:
		d.Errors.Add(w.At("image"), "pull it, or set imagePullPolicy to IfNotPresent",
			"image %s is not on this host and imagePullPolicy is Never", w.Image)
	case archive && !here && image.Err != "":
		d.Errors.Add(w.At("image"), "", "image archive %s: %s", file.File, image.Err)
	case !here && image.Wrong:
		d.Errors.Add(w.At("image"), "", "%s", image.Err)
	case archive && !here:
		d.Goal.Fetch = FetchImport
	case !archive && (!here || w.ImagePullPolicy == spec.PullAlways && image.Source != "" && image.Digest != image.Source):
		d.Goal.Fetch = FetchPull
	}
	if d.inWay != nil {
		d.Errors.Add(w.At("metadata.name"), freeName,
			"container %s is in the way of a new one for workspace %s", d.inWay.ID, d.Name)
	}
}

// movedImage is the difference when the image has the same name in the spec and
// another content at its source; or a note on why that is unknown. In a
// rollback, the source is the image that ran.
func (s Subject) movedImage(applied spec.Workspace, back bool) (changed []Field, note string) {
	w, ran := s.Desired, s.Instance.Digest
	if applied.Image != w.Image {
		return nil, ""
	}
	if s.Image.Err != "" {
		note = fmt.Sprintf("cannot tell whether image %s has moved: %s", w.Image, strings.TrimPrefix(s.Image.Err, "image "+w.Image+": "))
	}
	if s.Image.Wrong {
		note = "what runs stays: " + s.Image.Err
	}
	_, archive := w.Archive()
	asked := archive || w.ImagePullPolicy == spec.PullAlways || back // otherwise the answer is there only because another workspace asked
	if !asked || s.Image.Source == "" || ran == "" || s.Image.Source == ran {
		return nil, note
	}
	return []Field{{Path: "image digest", Old: ran, New: s.Image.Source, cost: CostReplace}}, note
}

// changedDevices is the difference between what the devices of an instance
// resolved to when it was made and what they do now, as after an update of a
// driver.
func (s Subject) changedDevices(now state.Devices) []Field {
	var changed fields
	for _, name := range s.Desired.Devices {
		if was, known := s.Instance.Devices[name]; known {
			changed.add(CostReplace, "what device "+name+" resolves to", was, now.Found[name])
		}
	}
	return changed
}
