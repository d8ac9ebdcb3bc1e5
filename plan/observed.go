package plan

import (
	"time"

	"carrel/plan/decide"
	"carrel/plan/state"
)

// observed says what containerd's part of an observation means, in words that
// package decide knows.
type observed struct {
	frame     decide.Frame
	networks  map[string]state.Attachment
	remains   map[string]state.Leftover // of an earlier network, which can be removed now
	volumes   map[string]bool
	preserved map[string]state.Preserved // the newest that the set may restore
	others    map[string]string          // the set of what was preserved for another one
	trash     map[string]time.Time       // the newest
	left      map[string]bool            // root filesystems whose container is gone, by key
}

func newObserved(f decide.Frame) observed {
	o := observed{
		frame: f, networks: make(map[string]state.Attachment, len(f.Now.Networks)), remains: map[string]state.Leftover{}, volumes: make(map[string]bool, len(f.Now.Volumes)),
		preserved: map[string]state.Preserved{}, others: map[string]string{}, trash: map[string]time.Time{}, left: map[string]bool{},
	}
	for _, a := range f.Now.Networks {
		o.networks[a.Workspace] = a
	}
	for _, l := range f.Now.Left {
		if l.Blocked == "" && l.Of(f.Set.Name) {
			o.remains[l.Workspace] = l
		}
	}
	for _, v := range f.Now.Volumes {
		o.volumes[v.Workspace] = true
	}
	for _, k := range f.Now.Preserved {
		if k.Set != f.Set.Name && k.Set != "" {
			o.others[k.Workspace] = k.Set
		} else if k.At.After(o.preserved[k.Workspace].At) {
			o.preserved[k.Workspace] = k
		}
	}
	for _, t := range f.Now.Trash {
		if t.At.After(o.trash[t.Workspace]) {
			o.trash[t.Workspace] = t.At
		}
	}
	for _, key := range f.Now.Snapshots {
		o.left[key] = true
	}
	return o
}

// subject is a workspace with what its data and its network are.
func (o observed) subject(s decide.Subject) decide.Subject {
	s.Data, s.Network = o.data(s), o.network(s)
	if s.From != nil {
		from := o.subject(*s.From)
		s.From = &from
	}
	return s
}

func (o observed) data(s decide.Subject) decide.Data {
	kept := o.preserved[s.Name]
	d := decide.Data{Volume: o.volumes[s.Name], Preserved: kept.At, Owner: kept.Set, Others: o.others[s.Name], Trash: o.trash[s.Name]}
	d.Leftover = o.leftover(s)
	switch c := s.Instance; {
	case c == nil:
	case c.Volume == "":
		d.Place = decide.Inside
	case c.Volume == o.frame.Now.VolumesDir+"/"+s.Name:
		d.Place = decide.InVolume
	default:
		d.Place = decide.InFolder
	}
	return d
}

// leftover is the root filesystem that is left of the container of a workspace: of
// the one that its record names, or else of one that it may have. It is "" when
// nothing is left.
func (o observed) leftover(s decide.Subject) string {
	if len(o.left) == 0 {
		return ""
	}
	if s.Record != nil && s.Instance == nil && o.left[s.Record.Container] {
		return s.Record.Container
	}
	for _, key := range o.frame.Aliases(s.Name) {
		if o.left[key] {
			return key
		}
	}
	return ""
}

// network says whether a network works, also for the process that runs: one that
// is in another namespace than the pinned one has to be restarted.
func (o observed) network(s decide.Subject) decide.Network {
	a, attached := o.networks[s.Name]
	_, remains := o.remains[s.Name]
	if !attached {
		return decide.Network{Remains: remains}
	}
	n := decide.Network{Attached: true, Owner: a.Set, Ports: a.Ports, Broken: a.Broken, Restart: a.Netns == 0, Stale: a.Stale, Remains: remains}
	if s.Instance == nil || s.Instance.Task.Status != state.TaskRunning {
		return n
	}
	if task := s.Instance.Task; task.Netns != 0 && a.Netns != 0 && task.Netns != a.Netns {
		n.Broken, n.Restart = "its process is in another network namespace", true
	}
	return n
}
