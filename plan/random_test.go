package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// random makes worlds and specs that nobody would think of.
type random struct{ *rand.Rand }

// often is true with a chance of n in a hundred.
func (r random) often(n int) bool { return r.IntN(100) < n }

func pick[T any](r random, all ...T) T { return all[r.IntN(len(all))] }

// randomScene is what is desired and what exists: a few workspaces, of which
// everything may be there or missing, ours or somebody's, whole or broken.
func randomScene(seed uint64) *scene {
	r := random{rand.New(rand.NewPCG(seed, 7))}
	s := &scene{
		want: spec.Set{Name: "s", Sources: []string{"/specs/"}},
		now: state.State{
			Host: "h", Time: noon, Shared: r.often(30), VolumesDir: "/volumes", Images: map[string]state.Image{},
			Devices: state.Devices{Found: map[string]string{"v/gpu=0": pick(r, "1", "2")}}, Absent: map[string]bool{"/absent": true},
		},
		options: plan.Options{AdoptPrefixes: []string{"agent-"}, PruneOrphans: r.often(30)},
	}
	for _, name := range []string{"a", "b", "c"}[:1+r.IntN(3)] {
		base := r.spec(name)
		if r.often(70) {
			s.want.Workspaces = append(s.want.Workspaces, base)
		}
		r.record(&s.now, name, base)
		r.instances(&s.now, name, base)
		r.data(&s.now, name)
		r.network(&s.now, name)
		r.image(&s.now, base)
	}
	r.rename(s)
	if r.often(10) {
		s.want.Empty = []string{"/specs/a.yaml"}
	}
	return s
}

// rename renames some workspaces from one that is not described any more, and that
// may be known or not.
func (r random) rename(s *scene) {
	taken := map[string]bool{}
	for _, w := range s.want.Workspaces {
		taken[w.Name] = true
	}
	for i := range s.want.Workspaces {
		old := pick(r, "a", "b", "c")
		if r.often(40) && !taken[old] {
			s.want.Workspaces[i].RenamedFrom, taken[old] = old, true
		}
	}
}

func (r random) spec(name string) spec.Workspace {
	w := spec.Default()
	w.Name, w.Source = name, "/specs/"+name+".yaml"
	w.Image = pick(r, "docker.io/library/x:v1", "docker.io/library/x:v2", "oci-archive:/x.tar")
	w.Network.Mode = pick(r, spec.NetworkCNI, spec.NetworkCNI, spec.NetworkHost, spec.NetworkNone)
	if w.Network.Mode == spec.NetworkCNI && r.often(40) {
		w.Network.Ports = []spec.Port{{Host: pick(r, 80, 81), Container: 80, Protocol: "tcp"}}
	}
	r.change(&w)
	return w
}

// change changes a spec a little, or not.
func (r random) change(w *spec.Workspace) {
	for range r.IntN(3) {
		switch r.IntN(11) {
		case 0:
			w.AutoStart = !w.AutoStart
		case 1:
			w.PreserveData = pick(r, spec.PreserveAlways, spec.PreserveOnReplace, spec.PreserveNever)
		case 2:
			w.Labels = map[string]string{"team": pick(r, "x", "y")}
		case 3:
			w.User = pick(r, "7", "8")
		case 4:
			w.Devices = pick(r, nil, []string{"v/gpu=0"}, []string{"v/gpu=9"})
		case 5:
			w.ImagePullPolicy = pick(r, spec.PullAlways, spec.PullIfNotPresent, spec.PullNever)
		case 6:
			w.Host = pick(r, "", "h", "g")
		case 7:
			w.Resources.Limits.Memory = spec.Bytes(pick(r, 1<<20, 1<<30))
		case 8:
			w.Mounts = pick(r, nil, []spec.Mount{{Source: "/absent", Target: "/m"}})
		case 9:
			w.DataPath = pick(r, "/data", "/work")
		case 10:
			w.Network.Mode, w.Network.Ports = pick(r, spec.NetworkCNI, spec.NetworkNone), nil
		}
	}
}

func (r random) record(now *state.State, name string, base spec.Workspace) {
	if r.often(35) {
		return
	}
	applied := base
	r.change(&applied)
	record := state.Record{
		Workspace: name, Set: pick(r, "s", "s", "s", "s", "s", "t"), Host: pick(r, "h", "h", "h", "h", "h", "g"),
		Source:    pick(r, base.Source, base.Source, base.Source, "", "-", "/other/"+name+".yaml"),
		Container: pick(r, name, name, name, "", "agent-"+name, "lost"), Applied: pick(r, &applied, &applied, &applied, nil),
		StoppedByUser: r.often(20), Gone: r.often(40), Version: int64(1 + r.IntN(5)),
		CreatedAt: noon.Add(-10 * time.Hour), UpdatedAt: r.before(), // a record is older than all that it is about
	}
	if r.often(15) {
		record.LastError = "no space"
	}
	now.Records = append(now.Records, record)
}

// before is a time of the last hours.
func (r random) before() time.Time { return noon.Add(-time.Duration(1+r.IntN(9)) * time.Hour) }

func (r random) instances(now *state.State, name string, base spec.Workspace) {
	for _, id := range []string{name, "agent-" + name, "x-" + name} {
		if !r.often(map[string]int{name: 60, "agent-" + name: 12, "x-" + name: 8}[id]) {
			continue
		}
		applied := base
		r.change(&applied)
		c := state.Instance{
			ID: id, Workspace: name, Set: pick(r, "s", "s", "s", "s", "t"), Host: pick(r, "h", "h", "h", "h", "g"), Applied: &applied,
			Snapshot: id, Image: "docker.io/library/x@sha256:v1", Digest: pick(r, "sha256:v1", "sha256:v2", ""),
			Volume: "/volumes/" + name, CreatedAt: r.before(), Devices: map[string]string{}, Labels: maps.Clone(applied.Labels),
		}
		for _, device := range applied.Devices {
			c.Devices[device] = pick(r, "1", "2")
		}
		switch r.IntN(8) {
		case 0: // nobody's
			c.Workspace, c.Set, c.Host, c.Found, c.Applied = "", "", "", c.Applied, nil
			c.Volume = pick(r, "", "/srv/"+name)
		case 1: // adopted, and not replaced yet
			c.Volume = pick(r, "", "/srv/"+name)
		case 2: // somebody took its labels away
			c.Workspace, c.Set, c.Host = "", pick(r, "", c.Set), pick(r, "", c.Host)
			c.Drift = []state.Drift{{Path: "labels.carrel/workspace", Made: name, Label: true}}
		case 3:
			if r.often(20) {
				c.Unreadable, c.Applied = "newer", nil
			}
		}
		c.Task = r.task()
		if c.Volume == "/volumes/"+name && r.often(5) {
			c.Damaged, c.Task = "its root filesystem is gone", state.Task{}
		}
		r.drift(&c)
		now.Instances = append(now.Instances, c)
	}
}

// drift is what somebody changed on the host.
func (r random) drift(c *state.Instance) {
	if c.Task.Alive() && r.often(10) {
		c.Task.Limits = &spec.Limits{Pids: pick[int64](r, 0, 7, 4096), Memory: spec.Bytes(pick(r, 0, 1<<20))}
	}
	if c.Applied == nil {
		return
	}
	if r.often(10) {
		c.Labels = pick(r, nil, map[string]string{"team": "z"}, map[string]string{"team": "x", "tool": "t"})
	}
	if r.often(5) {
		c.Set, c.Host = pick(r, c.Set, ""), pick(r, c.Host, "")
	}
	if r.often(10) {
		c.Drift = append(c.Drift, state.Drift{Path: "oci.process.cwd", Made: "/", Now: "/tmp"})
		c.Task.Drifted = c.Task.Alive() && r.often(50)
	}
}

func (r random) task() state.Task {
	task := state.Task{Status: pick(r, state.TaskRunning, state.TaskRunning, state.TaskRunning, state.TaskNone, state.TaskStopped, state.TaskCreated, state.TaskPaused, state.TaskUnknown)}
	if task.Status == state.TaskRunning {
		task.PID, task.Netns = 7, pick(r, uint64(0), 1, 2)
	}
	return task
}

func (r random) data(now *state.State, name string) {
	if r.often(60) {
		now.Volumes = append(now.Volumes, state.Volume{Workspace: name, Path: "/volumes/" + name})
	}
	for i := range r.IntN(3) {
		now.Preserved = append(now.Preserved, state.Preserved{Workspace: name, Set: pick(r, "s", "s", "", "t"), At: r.before().Add(time.Duration(10*int(name[0]) + i))}) // no two at one time, also under one name
	}
	if r.often(20) {
		now.Trash = append(now.Trash, state.Trashed{Workspace: name, At: r.before()})
	}
	for _, key := range []string{name, "agent-" + name} {
		used := slices.ContainsFunc(now.Instances, func(c state.Instance) bool { return c.Snapshot == key })
		if r.often(15) && !used {
			now.Snapshots = append(now.Snapshots, key)
		}
	}
}

func (r random) network(now *state.State, name string) {
	if r.often(20) {
		now.Left = append(now.Left, state.Leftover{Workspace: name, Set: pick(r, "s", "s", "t", ""), Network: "x", Blocked: pick(r, "", "no plugin")})
	}
	if r.often(50) {
		return
	}
	a := state.Attachment{Workspace: name, Set: pick(r, "s", "s", "s", "t"), Netns: pick(r, uint64(0), 1, 2)}
	if r.often(40) {
		a.Ports = []spec.Port{{Host: pick(r, 80, 81), Container: 80, Protocol: "tcp"}}
	}
	if a.Netns == 0 {
		a.Broken = "its network namespace is gone"
	} else if r.often(30) {
		a.Broken = "its interface is gone"
	} else if r.often(20) {
		a.Stale = "the nameservers have changed"
	}
	now.Networks = append(now.Networks, a)
}

func (r random) image(now *state.State, w spec.Workspace) {
	image := state.Image{Name: w.Image, Digest: pick(r, "sha256:v1", "sha256:v2", "")}
	if _, archive := w.Archive(); archive { // its name has the digest that the file has now
		source := pick(r, "sha256:v1", "sha256:v2")
		image = state.Image{Name: "carrel.local/archive@" + source, Source: source, Digest: pick(r, source, source, "")}
		if r.often(15) {
			image = state.Image{Err: "no such file"}
		}
	} else if w.ImagePullPolicy == spec.PullAlways || r.often(20) {
		image.Source = pick(r, "sha256:v1", "sha256:v2")
		if r.often(20) {
			image.Source, image.Err, image.Wrong = "", "it does not answer", r.often(50)
		}
	}
	now.Images[w.Image] = image
}

// fill gives all data of a world a content that is nowhere else.
func fill(w *plan.World) {
	for name := range w.Volumes {
		w.Volumes[name] = plan.Files{"volume": name}
	}
	for name, all := range w.Preserved {
		for i := range all {
			all[i].Data = plan.Files{"preserved": fmt.Sprint(name, i)}
		}
	}
	for name, all := range w.Trash {
		for i := range all {
			all[i].Data = plan.Files{"trash": fmt.Sprint(name, i)}
		}
	}
	for key := range w.RootFilesystems {
		w.RootFilesystems[key] = plan.Files{"root": key}
	}
}
