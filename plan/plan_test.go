package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
	"carrel/plan/report"
	"carrel/plan/state"
	"carrel/spec"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// scene is what is wanted and what exists; each test changes one that is in
// perfect order.
type scene struct {
	want    spec.Set
	now     state.State
	options plan.Options
}

func wanted(name string) spec.Workspace {
	w := spec.Default()
	w.Name, w.Image, w.Source, w.Network.Mode = name, "docker.io/library/bot:v1", "/specs/"+name+".yaml", spec.NetworkNone
	return w
}

func inOrder() *scene {
	w := wanted("bot")
	kept := w
	return &scene{
		want: spec.Set{Name: "s", Sources: []string{"/specs/"}, Workspaces: []spec.Workspace{w}},
		now: state.State{
			Host: "h", Time: noon,
			Records: []state.Record{{Workspace: "bot", Set: "s", Host: "h", Source: w.Source, Container: "bot", Applied: &kept, Version: 3}},
			Instances: []state.Instance{{
				ID: "bot", Workspace: "bot", Set: "s", Host: "h", Applied: &kept, Volume: "/volumes/bot",
				Image: "docker.io/library/bot@sha256:1", Digest: "sha256:1", Task: state.Task{Status: state.TaskRunning, PID: 7},
			}},
			Images:  map[string]state.Image{w.Image: {Name: w.Image, Digest: "sha256:1"}},
			Volumes: []state.Volume{{Workspace: "bot", Path: "/volumes/bot"}}, VolumesDir: "/volumes",
		},
	}
}

// network gives the workspace a network, in its spec and in the world.
func (s *scene) network(ports ...spec.Port) {
	net := spec.Network{Mode: spec.NetworkCNI, Ports: ports}
	s.want.Workspaces[0].Network, s.now.Instances[0].Applied.Network = net, net
	s.now.Instances[0].Task.Netns = 5
	s.now.Networks = []state.Attachment{{Workspace: "bot", Set: "s", Ports: ports, Netns: 5}}
}

// strange makes the container one that carrel did not make, of an older image.
func (s *scene) strange(volume, snapshot string) {
	found := wanted("bot")
	found.Image = "docker.io/library/bot:v0"
	c := &s.now.Instances[0]
	c.Workspace, c.Set, c.Host, c.Applied, c.Found, c.Volume, c.Snapshot = "", "", "", nil, &found, volume, snapshot
}

func (s *scene) text() string {
	p, err := plan.New(s.want, s.now, s.options)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	text, _, _ := strings.Cut(report.OfPlan(p).Text(), "\nplan ")
	return text
}

// none makes the scene one without specs, records or containers.
func (s *scene) none(which string) {
	for word := range strings.FieldsSeq(which) {
		switch word {
		case "D":
			s.want.Workspaces = nil
			s.now.Records = append([]state.Record{}, s.now.Records...)
			for i := range s.now.Records {
				s.now.Records[i].Gone = true
			}
		case "R":
			s.now.Records = nil
		case "C":
			s.now.Instances = nil
		case "V":
			s.now.Volumes = nil
		case "I":
			s.now.Images = nil
		}
	}
}

func TestTable(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   string
	}{
		{"all as wanted", func(*scene) {}, "Nothing to do for set s on host h: 1 unchanged.\n"},
		{"D", func(s *scene) { s.none("R C V I") }, `Plan for set s on host h: 1 to create, 0 unchanged.

  + bot: create
      image: docker.io/library/bot:v1
      network.mode: none
      because: new
      1. pull image docker.io/library/bot:v1
      2. check image docker.io/library/bot:v1 for bot
      3. create volume of bot from /data in docker.io/library/bot:v1
      4. create container bot from docker.io/library/bot:v1
      5. start bot
      6. record bot
`},
		{"D, and preserved data", func(s *scene) {
			s.none("R C V")
			s.now.Preserved = []state.Preserved{{Workspace: "bot", At: noon.Add(-2 * time.Hour)}, {Workspace: "bot", At: noon.Add(-time.Hour)}}
		}, `Plan for set s on host h: 1 to create, 0 unchanged.

  + bot: create
      image: docker.io/library/bot:v1
      network.mode: none
      because: new
      because: its preserved data returns
      1. check image docker.io/library/bot:v1 for bot
      2. restore data of bot from 2026-01-01T11:00:00Z
      3. create container bot from docker.io/library/bot:v1
      4. start bot
      5. record bot
`},
		{"D C, ours", func(s *scene) { s.none("R") }, `Plan for set s on host h: 1 to update, 0 unchanged.

  ~ bot: update
      because: record missing in the store
      1. record bot
`},
		{"D C, a stranger's", func(s *scene) {
			s.none("R V")
			found := wanted("bot")
			found.Resources.Limits = spec.Limits{}
			c := &s.now.Instances[0]
			c.Workspace, c.Set, c.Host, c.Applied, c.Found, c.Volume = "", "", "", nil, &found, "/srv/bot"
		}, `Plan for set s on host h: 1 to adopt, 0 unchanged.

  ~ bot: adopt (in place, no restart)
      resources.limits.pids: 0 -> 4096
      because: container bot exists and has no owner
      1. adopt container bot as bot
      2. update limits of bot to 4096 pids
      3. update labels and kept spec of bot
      4. record bot
`},
		{"D C, a stranger's with data in its root filesystem that must be replaced", func(s *scene) {
			s.none("R V")
			s.strange("", "rootfs-1")
		}, `Plan for set s on host h: 1 to replace, 0 unchanged.

-/+ bot: replace (restarts; down up to 10s and while its data is copied; data kept)
      image: docker.io/library/bot:v0 -> docker.io/library/bot:v1
      because: container bot exists and has no owner
      because: container bot keeps its data in its root filesystem
      1. check image docker.io/library/bot:v1 for bot
      2. adopt container bot as bot
      3. stop bot within 10s
      4. copy data of bot from /data in root filesystem rootfs-1
      5. delete container bot
      6. create container bot from docker.io/library/bot:v1
      7. start bot
      8. record bot
`},
		{"D C, a stranger's with data in a folder", func(s *scene) {
			s.none("R V")
			s.strange("/srv/bot", "rootfs-1")
		}, `Plan for set s on host h: 1 to replace, 0 unchanged.

-/+ bot: replace (restarts; down up to 10s and while its data is copied; data kept)
      image: docker.io/library/bot:v0 -> docker.io/library/bot:v1
      because: container bot exists and has no owner
      because: container bot keeps its data in /srv/bot, which stays as it is
      1. check image docker.io/library/bot:v1 for bot
      2. adopt container bot as bot
      3. stop bot within 10s
      4. copy data of bot from folder /srv/bot
      5. delete container bot
      6. create container bot from docker.io/library/bot:v1
      7. start bot
      8. record bot
`},
		{"D R C, a stranger's in the place of ours", func(s *scene) { s.strange("", "rootfs-1") },
			"error: /specs/bot.yaml: container bot is not carrel's, and workspace bot has a volume on this host (save what is needed from that container and delete it, or choose another name)\n"},
		{"R C, a stranger's in the place of ours", func(s *scene) { s.none("D"); s.strange("", "rootfs-1") }, `Plan for set s on host h: 1 to remove record, 0 unchanged.

  - bot: remove record (record removed; data preserved)
      because: no spec describes it any more
      because: its container is missing
      1. preserve data of bot
      2. remove the record of bot
`},
		{"D, and a root filesystem", func(s *scene) {
			s.none("R C V")
			s.now.Snapshots = []string{"agent-bot", "other"}
			s.options.AdoptPrefixes = []string{"agent-"}
		}, `Plan for set s on host h: 1 to create, 0 unchanged.

  + bot: create
      image: docker.io/library/bot:v1
      network.mode: none
      because: new
      because: root filesystem agent-bot is left of a container that is gone
      1. check image docker.io/library/bot:v1 for bot
      2. copy data of bot from /data in root filesystem agent-bot
      3. create container bot from docker.io/library/bot:v1
      4. start bot
      5. record bot
`},
		{"R C, and the data is to go", func(s *scene) {
			s.none("D")
			s.now.Records[0].Applied.PreserveData = spec.PreserveOnReplace
		}, `WARNING: this deletes data of bot permanently (it needs --allow-data-loss)
Plan for set s on host h: 1 to delete, 0 unchanged.

  - bot: delete (DATA IS DELETED PERMANENTLY)
      because: no spec describes it any more
      because: preserveData is OnReplace: its data is deleted
      1. stop bot within 10s
      2. discard data of bot
      3. delete container bot
      4. remove discarded data of bot
      5. remove the record of bot
`},
		{"R C, adopted and never replaced", func(s *scene) {
			s.none("D V")
			s.now.Instances[0].Volume, s.now.Instances[0].Snapshot = "", "rootfs-1"
		}, `Plan for set s on host h: 1 to delete, 0 unchanged.

  - bot: delete (deleted; data preserved)
      because: no spec describes it any more
      because: container bot keeps its data in its root filesystem
      1. stop bot within 10s
      2. copy data of bot from /data in root filesystem rootfs-1
      3. preserve data of bot
      4. delete container bot
      5. remove the record of bot
`},
		{"D R C, and new data with each container", func(s *scene) {
			s.want.Workspaces[0].PreserveData, s.now.Instances[0].Applied.PreserveData = spec.PreserveNever, spec.PreserveNever
			s.want.Workspaces[0].User = "7"
		}, `WARNING: this deletes data of bot permanently (it needs --allow-data-loss)
Plan for set s on host h: 1 to replace, 0 unchanged.

-/+ bot: replace (restarts; up to 10s down; DATA IS DELETED PERMANENTLY)
      user: (unset) -> 7
      because: preserveData is Never: its data is deleted
      1. check image docker.io/library/bot:v1 for bot
      2. stop bot within 10s
      3. discard data of bot
      4. delete container bot
      5. create volume of bot from /data in docker.io/library/bot:v1
      6. create container bot from docker.io/library/bot:v1
      7. start bot
      8. remove discarded data of bot
      9. record bot
`},
		{"D R C with a network", func(s *scene) {
			s.network(spec.Port{Host: 80, Container: 8080, Protocol: "tcp"})
			s.none("R C V")
			s.now.Networks = nil
		}, `Plan for set s on host h: 1 to create, 0 unchanged.

  + bot: create
      image: docker.io/library/bot:v1
      network.ports: :80->8080/tcp
      because: new
      1. check image docker.io/library/bot:v1 for bot
      2. create volume of bot from /data in docker.io/library/bot:v1
      3. create container bot from docker.io/library/bot:v1
      4. attach network of bot with ports :80->8080/tcp
      5. start bot
      6. record bot
`},
		{"D R C with a network, replaced", func(s *scene) {
			s.network()
			s.want.Workspaces[0].User = "7"
		}, `Plan for set s on host h: 1 to replace, 0 unchanged.

-/+ bot: replace (restarts; up to 10s down; data kept)
      user: (unset) -> 7
      1. check image docker.io/library/bot:v1 for bot
      2. stop bot within 10s
      3. delete container bot
      4. create container bot from docker.io/library/bot:v1
      5. start bot
      6. record bot
`},
		{"D R C with a network and other ports", func(s *scene) {
			s.network()
			s.want.Workspaces[0].Network.Ports = []spec.Port{{Host: 80, Container: 8080, Protocol: "tcp"}}
		}, `Plan for set s on host h: 1 to replace, 0 unchanged.

-/+ bot: replace (restarts; up to 10s down; data kept)
      network.ports: (unset) -> :80->8080/tcp
      1. check image docker.io/library/bot:v1 for bot
      2. stop bot within 10s
      3. delete container bot
      4. create container bot from docker.io/library/bot:v1
      5. detach network of bot
      6. attach network of bot with ports :80->8080/tcp
      7. start bot
      8. record bot
`},
		{"R C with a network", func(s *scene) { s.network(); s.none("D") }, `Plan for set s on host h: 1 to delete, 0 unchanged.

  - bot: delete (deleted; data preserved)
      because: no spec describes it any more
      1. stop bot within 10s
      2. detach network of bot
      3. preserve data of bot
      4. delete container bot
      5. remove the record of bot
`},
		{"the network of a workspace that is gone", func(s *scene) { s.network(); s.none("D R C V") }, `Plan for set s on host h: 1 to clean, 0 unchanged.

  ~ bot: clean
      because: its workspace is gone, and its network is still attached
      1. detach network of bot
      2. note in the history of bot
`},
		{"D R", func(s *scene) { s.none("C") }, `Plan for set s on host h: 1 to create, 0 unchanged.

  + bot: create
      image: docker.io/library/bot:v1
      network.mode: none
      because: its container is missing
      1. check image docker.io/library/bot:v1 for bot
      2. create container bot from docker.io/library/bot:v1
      3. start bot
      4. record bot
`},
		{"R C", func(s *scene) { s.none("D") }, `Plan for set s on host h: 1 to delete, 0 unchanged.

  - bot: delete (deleted; data preserved)
      because: no spec describes it any more
      1. stop bot within 10s
      2. preserve data of bot
      3. delete container bot
      4. remove the record of bot
`},
		{"R", func(s *scene) { s.none("D C") }, `Plan for set s on host h: 1 to remove record, 0 unchanged.

  - bot: remove record (record removed; data preserved)
      because: no spec describes it any more
      because: its container is missing
      1. preserve data of bot
      2. remove the record of bot
`},
		{"C, an orphan", func(s *scene) { s.none("D R") }, `Nothing to do for set s on host h: 0 unchanged.

note: container bot says that it is workspace bot of this set, but no spec and no record knows it (delete it with --prune-orphans, which preserves its data)
`},
		{"C, an orphan that is pruned", func(s *scene) {
			s.none("D R")
			s.options.PruneOrphans = true
		}, `Plan for set s on host h: 1 to delete, 0 unchanged.

  - bot: delete (deleted; data preserved)
      because: an orphan: no spec and no record knows it
      1. stop bot within 10s
      2. preserve data of bot
      3. delete container bot
      4. note in the history of bot
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inOrder()
			test.change(s)
			if diff := cmp.Diff(test.want, s.text()); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecisions looks at single lines of plans.
func TestDecisions(t *testing.T) {
	task := func(task state.Task) func(*scene) { return func(s *scene) { s.now.Instances[0].Task = task } }
	for _, test := range []struct {
		name   string
		change func(*scene)
		want   []string
	}{
		{"exited", task(state.Task{Status: state.TaskStopped, ExitCode: 137, ExitedAt: noon.Add(-3 * time.Minute)}),
			[]string{"~ bot: start", "because: exited 137 3 minutes ago", "1. start bot"}},
		{"half made", task(state.Task{Status: state.TaskCreated}), []string{"because: its task was made and never started"}},
		{"paused", task(state.Task{Status: state.TaskPaused}), []string{"because: its task is paused"}},
		{"frozen shim", task(state.Task{Status: state.TaskUnknown}), []string{"Nothing to do"}},
		{"not to be started", func(s *scene) {
			s.now.Instances[0].Task = state.Task{}
			s.want.Workspaces[0].AutoStart, s.now.Instances[0].Applied.AutoStart = false, false
		}, []string{"Nothing to do"}},
		{"held", func(s *scene) {
			s.now.Records[0].StoppedByUser = true
			s.now.Instances[0].Task = state.Task{}
		}, []string{"Nothing to do", "note: bot is stopped by user"}},
		{"held and running", func(s *scene) { s.now.Records[0].StoppedByUser = true }, []string{"~ bot: stop", "1. stop bot", "2. record bot as stopped by user"}},
		{"held, and its spec changed", func(s *scene) {
			s.now.Records[0].StoppedByUser = true
			s.now.Instances[0].Task = state.Task{}
			s.want.Workspaces[0].Labels = map[string]string{"a": "b"}
		}, []string{"labels.a: (unset) -> b", "2. start bot", "3. record bot\n"}},
		{"a failure before", func(s *scene) { s.now.Records[0].LastError = "no space" }, []string{"because: the last apply failed: no space"}},
		{"volume lost", func(s *scene) { s.none("V") },
			[]string{"error:", "the volume of workspace bot, /volumes/bot, is missing (mount or bring back what is missing"}},
		{"volume and container lost", func(s *scene) { s.none("V C") }, []string{"error:", "the volume of workspace bot, /volumes/bot, is missing"}},
		{"volume and adopted container lost, and its root filesystem left", func(s *scene) {
			s.none("V C")
			s.now.Records[0].Container, s.now.Snapshots = "agent-bot", []string{"agent-bot"}
			s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-2 * time.Hour)}}
			s.now.Records[0].CreatedAt = noon.Add(-time.Hour)
		}, []string{"because: root filesystem agent-bot is left of a container that is gone", "2. copy data of bot from /data in root filesystem agent-bot", "3. create container bot"}},
		{"the same, and its spec gone too", func(s *scene) {
			s.none("V C D")
			s.now.Records[0].Container, s.now.Snapshots = "agent-bot", []string{"agent-bot"}
		}, []string{"bot: remove record (record removed; data preserved)", "1. copy data of bot from /data in root filesystem agent-bot", "2. preserve data of bot", "3. remove the record of bot"}},
		{"the same, and nothing tells who described it", func(s *scene) {
			s.none("V C D")
			s.now.Records[0].Container, s.now.Records[0].Source, s.now.Snapshots = "agent-bot", "", []string{"agent-bot"}
		}, []string{"Nothing to do", "note: bot stays: its record does not say what described it"}},
		{"volume lost, and a root filesystem that may be its container's", func(s *scene) {
			s.none("V C")
			s.now.Snapshots = []string{"agent-bot"}
		}, []string{"is missing (mount or bring back what is missing, or, if its data is in root filesystem agent-bot, pass --adopt-prefix agent-; only when the data is lost, begin with new data: carrel delete bot, then apply)"}},
		{"an adopted container with its data elsewhere than its new spec", func(s *scene) {
			s.none("V")
			s.now.Instances[0].Volume, s.now.Instances[0].Snapshot = "", "rootfs-1"
			s.want.Workspaces[0].DataPath = "/work"
		}, []string{"WARNING: this deletes data of bot permanently (it needs --allow-data-loss)", "dataPath: /data -> /work",
			"what is at /work there is kept, and what is at /data is deleted", "copy data of bot from /work in root filesystem rootfs-1"}},
		{"volume lost, and data of long ago", func(s *scene) {
			s.none("V")
			s.now.Instances[0].CreatedAt = noon.Add(-time.Hour)
			s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-2 * time.Hour)}}
		}, []string{"error:", "is missing"}},
		{"volume preserved by a run that was cut short", func(s *scene) {
			s.none("V")
			s.now.Instances[0].CreatedAt = noon.Add(-2 * time.Hour)
			s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "s", At: noon.Add(-time.Hour)}}
		}, []string{"bot: restart (restarts; up to 10s down)", "because: its volume is missing", "3. restore data of bot", "4. start bot"}},
		{"volume discarded by a run that was cut short", func(s *scene) {
			s.none("V")
			s.now.Trash = []state.Trashed{{Workspace: "bot", At: noon}}
		}, []string{"because: its volume is missing", "3. take back discarded data of bot", "4. start bot"}},
		{"preserved data of another set", func(s *scene) {
			s.none("R C V")
			s.now.Preserved = []state.Preserved{{Workspace: "bot", Set: "t", At: noon}}
		}, []string{"because: new", "create volume of bot from /data"}},
		{"limits", func(s *scene) { s.want.Workspaces[0].Resources.Limits.Memory = 1 << 30 },
			[]string{"bot: update (in place, no restart)", "resources.limits.memory: (unset) -> 1Gi", "update limits of bot to 4096 pids, 1Gi memory"}},
		{"a label changed on the host", func(s *scene) {
			s.want.Workspaces[0].Labels, s.now.Instances[0].Applied.Labels = map[string]string{"team": "x"}, map[string]string{"team": "x"}
			s.now.Instances[0].Labels = map[string]string{"team": "y", "tool": "t"}
		}, []string{"bot: update (in place, no restart)\n      labels.team: y -> x (changed on the host)\n      1. update labels and kept spec of bot"}},
		{"a label changed on the host and in the spec", func(s *scene) {
			s.want.Workspaces[0].Labels, s.now.Instances[0].Applied.Labels = map[string]string{"team": "z"}, map[string]string{"team": "x"}
			s.now.Instances[0].Labels = map[string]string{"team": "y"}
		}, []string{"      labels.team: x -> z\n      1. update labels"}},
		{"limits changed on the host", func(s *scene) { s.now.Instances[0].Task.Limits = &spec.Limits{Pids: 4096, Memory: 1 << 20} },
			[]string{"bot: update (in place, no restart)\n      resources.limits.memory: 1Mi -> (unset) (changed on the host)\n      1. update limits of bot to 4096 pids\n"}},
		{"limits changed on the host to what the spec says now", func(s *scene) {
			s.want.Workspaces[0].Resources.Limits.Memory = 1 << 20
			s.now.Instances[0].Task.Limits = &spec.Limits{Pids: 4096, Memory: 1 << 20}
		}, []string{"resources.limits.memory: (unset) -> 1Mi\n", "update limits of bot to 4096 pids, 1Mi memory"}},
		{"an OCI spec changed on the host", func(s *scene) {
			s.now.Instances[0].Drift = []state.Drift{{Path: "oci.process.cwd", Made: "/", Now: "/tmp"}}
		}, []string{"bot: update (in place, no restart)\n      oci.process.cwd: /tmp -> / (changed on the host)\n", "restore the OCI spec of bot"}},
		{"a process that was started with what was changed on the host", func(s *scene) {
			c := &s.now.Instances[0]
			c.Drift, c.Task.Drifted = []state.Drift{{Path: "oci.process.cwd", Made: "/", Now: "/tmp"}}, true
		}, []string{"bot: restart (restarts; up to 10s down)\n", "2. stop bot within 10s\n      3. restore the OCI spec of bot\n      4. start bot"}},
		{"an OCI spec changed on the host, and no process", func(s *scene) {
			s.now.Instances[0].Drift = []state.Drift{{Path: "oci.process.cwd", Made: "/", Now: "/tmp"}}
			s.now.Instances[0].Task = state.Task{}
		}, []string{"bot: start", "2. restore the OCI spec of bot\n      3. start bot"}},
		{"an OCI spec changed on the host of one that is replaced", func(s *scene) {
			s.want.Workspaces[0].User = "7"
			s.now.Instances[0].Drift = []state.Drift{{Path: "oci.process.cwd", Made: "/", Now: "/tmp"}}
		}, []string{"bot: replace", "oci.process.cwd: /tmp -> / (changed on the host)\n      1. check image docker.io/library/bot:v1 for bot\n      2. stop bot within 10s\n      3. delete container bot"}},
		{"env", func(s *scene) { s.want.Workspaces[0].Env = []spec.EnvVar{{Name: "TOKEN", Value: "geheim"}} },
			[]string{"bot: replace (restarts; up to 10s down; data kept)", "env.TOKEN: (unset) -> (a value)"}},
		{"replace while stopped by hand", func(s *scene) {
			s.now.Instances[0].Task = state.Task{}
			s.want.Workspaces[0].User = "7"
			s.want.Workspaces[0].AutoStart = false
		}, []string{"user: (unset) -> 7", "2. delete container bot", "4. record bot"}},
		{"replace keeps a task running that is not started by itself", func(s *scene) {
			s.want.Workspaces[0].User, s.want.Workspaces[0].AutoStart = "7", false
		}, []string{"5. start bot"}},
		{"moved tag", func(s *scene) {
			s.want.Workspaces[0].ImagePullPolicy, s.now.Instances[0].Applied.ImagePullPolicy = spec.PullAlways, spec.PullAlways
			s.now.Images["docker.io/library/bot:v1"] = state.Image{Name: "docker.io/library/bot:v1", Digest: "sha256:1", Source: "sha256:2"}
		}, []string{"bot: replace", "image digest: sha256:1 -> sha256:2", "1. pull image"}},
		{"registry that does not answer", func(s *scene) {
			s.now.Images["docker.io/library/bot:v1"] = state.Image{Name: "docker.io/library/bot:v1", Digest: "sha256:1", Err: "cannot be reached"}
		}, []string{"Nothing to do", "note: cannot tell whether image docker.io/library/bot:v1 has moved: cannot be reached"}},
		{"a tag that moved to what this host cannot run", func(s *scene) {
			s.now.Images["docker.io/library/bot:v1"] = state.Image{
				Name: "docker.io/library/bot:v1", Digest: "sha256:1", Err: "image docker.io/library/bot:v1: it has linux/arm64", Wrong: true,
			}
		}, []string{"Nothing to do", "note: what runs stays: image docker.io/library/bot:v1: it has linux/arm64"}},
		{"two containers of one name", func(s *scene) {
			second := s.now.Instances[0]
			second.ID, second.CreatedAt = "bot-2", noon
			s.now.Instances = append(s.now.Instances, second)
		}, []string{"Nothing to do", "note: container bot-2 also says that it is bot; bot is used"}},
		{"other ports, and a plugin that is missing", func(s *scene) {
			s.want.Workspaces[0].Network = spec.Network{Mode: spec.NetworkCNI, Ports: []spec.Port{{Host: 80, Container: 80, Protocol: "tcp"}}}
			s.now.NoPorts = "plugin portmap is missing"
		}, []string{"error:", "its process would have no network: plugin portmap is missing"}},
		{"other ports of one that does not run, and a plugin that is missing", func(s *scene) {
			s.want.Workspaces[0].Network = spec.Network{Mode: spec.NetworkCNI, Ports: []spec.Port{{Host: 80, Container: 80, Protocol: "tcp"}}}
			s.now.NoPorts, s.now.Instances[0].Task = "plugin portmap is missing", state.Task{}
		}, []string{"bot: replace"}},
		{"another state dir", func(s *scene) {
			s.none("R V")
			s.now.Instances[0].Volume = "/other/volumes/bot"
		}, []string{"record missing in the store", "note: the data of bot is in /other/volumes/bot, and not in this state dir (is --state-dir right?)"}},
		{"a deletion of what was adopted with a folder", func(s *scene) {
			s.none("D V")
			s.now.Instances[0].Volume = "/srv/bot"
		}, []string{"bot: delete", "note: the data of bot stays in /srv/bot"}},
		{"adoption by prefix", func(s *scene) {
			s.none("R V")
			found := wanted("bot")
			c := &s.now.Instances[0]
			c.ID, c.Workspace, c.Applied, c.Found, c.Volume = "workspace-bot", "", nil, &found, "/srv/bot"
			s.options.AdoptPrefixes = []string{"workspace-"}
		}, []string{"adopt container workspace-bot as bot"}},
		{"described by a file that was not loaded", func(s *scene) {
			s.want.Workspaces, s.want.Sources = nil, []string{"/specs/other.yaml"}
		}, []string{"Nothing to do", "note: bot stays: /specs/bot.yaml describes it, and was not loaded"}},
		{"described by a file that is gone, and a file loaded", func(s *scene) {
			s.none("D")
			s.want.Sources = []string{"/specs/other.yaml"}
		}, []string{"Nothing to do", "note: bot stays: /specs/bot.yaml, which described it, is gone, and nothing was loaded from there"}},
		{"described by a file that is gone, and a folder elsewhere loaded", func(s *scene) {
			s.none("D")
			s.want.Sources = []string{"/other/"}
		}, []string{"Nothing to do", "note: bot stays: /specs/bot.yaml, which described it, is gone, and nothing was loaded from there"}},
		{"described by another file now", func(s *scene) {
			s.now.Records[0].Source, s.now.Records[0].Gone = "/old/bot.yaml", true
		}, []string{"bot: update", "because: /specs/bot.yaml describes it now", "1. record bot"}},
		{"its file is empty", func(s *scene) {
			s.none("D")
			s.want.Empty = []string{"/specs/bot.yaml"}
		}, []string{"Nothing to do", "note: bot stays: /specs/bot.yaml, which described it, describes nothing now (delete that file, or run carrel delete bot)"}},
		{"its file is left out", func(s *scene) {
			s.none("D")
			s.want.Ignored = []string{"/specs/other.yaml", "/specs/bot.yaml"}
		}, []string{"Nothing to do", "note: bot stays: /specs/bot.yaml, which described it, is left out by .carrelignore (take it out of there, or run carrel delete bot)"}},
		{"its folder is left out", func(s *scene) {
			s.none("D")
			s.want.Ignored = []string{"/specs/"}
		}, []string{"Nothing to do", "note: bot stays: /specs/bot.yaml, which described it, is left out by .carrelignore (take it out of there, or run carrel delete bot)"}},
		{"described by standard input", func(s *scene) {
			s.none("D")
			s.now.Records[0].Source, s.want.Sources = "-", []string{"-"}
		}, []string{"Nothing to do", "note: bot stays: standard input described it"}},
		{"described by nobody knows what", func(s *scene) { s.none("D"); s.now.Records[0].Source = "" },
			[]string{"Nothing to do", "note: bot stays: its record does not say what described it"}},
		{"of another host", func(s *scene) { s.want.Workspaces[0].Host = "x"; s.none("R C") }, []string{"Nothing to do", "1 on other hosts"}},
		{"moved to another host", func(s *scene) { s.want.Workspaces[0].Host = "x" }, []string{"error:", "workspace bot is on this host, h, with its data; its spec moves it to x"}},
		{"of another set", func(s *scene) { s.now.Records[0].Set = "t" }, []string{"error:", "workspace bot belongs to set t, this is set s"}},
		{"a container of another set", func(s *scene) { s.none("R"); s.now.Instances[0].Set = "t" }, []string{"error:", "container bot belongs to set t"}},
		{"a kept spec that cannot be read", func(s *scene) { s.now.Instances[0].Unreadable = "newer" }, []string{"error:", "container bot: newer"}},
		{"out of memory", task(state.Task{Status: state.TaskStopped, ExitCode: 137, ExitedAt: noon.Add(-3 * time.Minute), OOMKills: 1}),
			[]string{"because: exited 137, out of memory, 3 minutes ago"}},
		{"a network in order", func(s *scene) { s.network() }, []string{"Nothing to do"}},
		{"an interface gone", func(s *scene) {
			s.network()
			s.now.Networks[0].Broken = "interface veth1 is gone"
		}, []string{"~ bot: repair (in place, no restart)", "because: interface veth1 is gone", "1. attach network of bot\n", "2. record bot"}},
		{"a namespace gone under a process", func(s *scene) {
			s.network()
			s.now.Networks[0].Netns, s.now.Networks[0].Broken = 0, "its namespace is gone"
		}, []string{"bot: restart (restarts; up to 10s down)", "because: its namespace is gone", "2. stop bot", "3. attach network of bot", "4. start bot"}},
		{"a process in another namespace", func(s *scene) {
			s.network()
			s.now.Instances[0].Task.Netns = 6
		}, []string{"bot: restart (restarts; up to 10s down)", "because: its process is in another network namespace", "2. stop bot", "3. start bot"}},
		{"a network never attached", func(s *scene) {
			s.network()
			s.now.Networks = nil
		}, []string{"bot: restart", "because: its network is not attached", "3. attach network of bot"}},
		{"after a reboot", func(s *scene) {
			s.network()
			s.now.Instances[0].Task = state.Task{}
			s.now.Networks[0].Netns, s.now.Networks[0].Broken = 0, "its namespace is gone"
		}, []string{"bot: start", "because: it has no task", "because: its namespace is gone", "1. attach network of bot", "2. start bot"}},
		{"held with a network", func(s *scene) {
			s.network()
			s.now.Records[0].StoppedByUser = true
			s.now.Instances[0].Task = state.Task{}
		}, []string{"bot: update", "because: it does not run, and its network is still attached", "1. detach network of bot"}},
		{"a network that is not wanted any more", func(s *scene) {
			s.network()
			s.want.Workspaces[0].Network.Mode = spec.NetworkHost
		}, []string{"network.mode: cni -> host", "5. detach network of bot", "6. start bot"}},
		{"a port of another set", func(s *scene) {
			s.network(spec.Port{Host: 80, Container: 80, Protocol: "tcp"})
			s.now.Networks = append(s.now.Networks, state.Attachment{Workspace: "web", Set: "t",
				Ports: []spec.Port{{Host: 80, Container: 1, Protocol: "tcp", HostIP: "127.0.0.1"}}})
		}, []string{"error:", "port 80/tcp of the host is published by workspace web of set t (choose another port)"}},
		{"a device that is not here", func(s *scene) {
			s.want.Workspaces[0].Devices = []string{"a/b=c"}
			s.now.Devices = state.Devices{Found: map[string]string{"a/b=d": "1"}, Folders: []string{"/etc/cdi"}}
		}, []string{"error:", `this host has no device "a/b=c" (it has a/b=d; searched /etc/cdi)`}},
		{"a mount that is not here", func(s *scene) {
			s.want.Workspaces[0].Mounts = []spec.Mount{{Source: "/srv/models", Target: "/models"}}
			s.now.Absent = map[string]bool{"/srv/models": true}
		}, []string{"error:", "this host has no /srv/models (create it, or correct the path)"}},
		{"a mount point that is not here", func(s *scene) {
			s.want.Workspaces[0].DataPath = "/models/data"
			s.want.Workspaces[0].Mounts = []spec.Mount{{Source: "/srv/models", Target: "/models", ReadOnly: true}}
			s.now.Absent = map[string]bool{"/srv/models/data": true}
		}, []string{"error:", "/models/data is within /models, which is mounted read-only from /srv/models, and that has no such path (create /srv/models/data, or choose another path)"}},
		{"a mount point that can be made", func(s *scene) {
			s.want.Workspaces[0].DataPath = "/models/data"
			s.want.Workspaces[0].Mounts = []spec.Mount{{Source: "/srv/models", Target: "/models"}}
			s.now.Absent = map[string]bool{"/srv/models/data": true}
		}, []string{"bot: replace", "dataPath: /data -> /models/data"}},
		{"the name of the host", func(s *scene) {
			s.now.Host = "gpu-01.example.com"
			second := wanted("gpu-01")
			second.Network.Mode = spec.NetworkCNI
			s.want.Workspaces = append(s.want.Workspaces, second)
		}, []string{"error:", "gpu-01 is the name of this host, which the other workspaces of the set could no longer reach (give it another name)"}},
		{"a device", func(s *scene) {
			s.want.Workspaces[0].Devices = []string{"a/b=c"}
			s.now.Devices = state.Devices{Found: map[string]string{"a/b=c": "1"}, Warnings: []string{"x.json: broken"}}
		}, []string{`devices: (unset) -> ["a/b=c"]`, "bot: replace", "note: devices: x.json: broken"}},
		{"a device that is another now", func(s *scene) {
			s.want.Workspaces[0].Devices, s.now.Instances[0].Applied.Devices = []string{"a/b=c"}, []string{"a/b=c"}
			s.now.Instances[0].Devices = map[string]string{"a/b=c": "1"}
			s.now.Devices.Found = map[string]string{"a/b=c": "2"}
		}, []string{"bot: replace", "what device a/b=c resolves to: 1 -> 2"}},
		{"a device of two", func(s *scene) {
			second := wanted("second")
			second.Devices, s.want.Workspaces[0].Devices = []string{"a/b=c"}, []string{"a/b=c"}
			s.want.Workspaces = append(s.want.Workspaces, second)
			s.now.Devices.Found = map[string]string{"a/b=c": "2"}
		}, []string{"note: device a/b=c is given to bot, second: they share it"}},
		{"trash of before", func(s *scene) { s.now.Trash = []state.Trashed{{Workspace: "old", At: noon}} },
			[]string{"~ old: clean", "1. remove discarded data of old"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inOrder()
			test.change(s)
			text := s.text()
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			if strings.Contains(text, "geheim") {
				t.Errorf("a secret is shown:\n%s", text)
			}
		})
	}
}

func TestAnOlderSpecChangesNothing(t *testing.T) {
	s := inOrder()
	old, err := state.DecodeSpec([]byte(`{"version":1,"spec":{"name":"bot","image":"docker.io/library/bot:v1","network":{"mode":"none"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	s.now.Instances[0].Applied, s.now.Records[0].Applied = old, old
	if got := s.text(); !strings.HasPrefix(got, "Nothing to do") {
		t.Errorf("a spec applied by an older carrel is changed:\n%s", got)
	}
}

func TestMassDelete(t *testing.T) {
	for _, test := range []struct {
		owned, deleted int
		want           bool
	}{{2, 2, false}, {3, 3, true}, {4, 3, true}, {6, 3, false}, {7, 4, true}} {
		s := inOrder()
		s.now = state.State{Host: "h", Time: noon}
		s.want.Workspaces = nil
		for i := range test.owned {
			name := string(rune('a' + i))
			s.now.Records = append(s.now.Records, state.Record{Workspace: name, Set: "s", Host: "h", Source: "/specs/x.yaml"})
			if i >= test.deleted {
				s.want.Workspaces = append(s.want.Workspaces, wanted(name))
			}
		}
		p, err := plan.New(s.want, s.now, plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		warned := strings.HasPrefix(report.OfPlan(p).Text(), "WARNING: this deletes")
		if p.MassDelete() != test.want || warned != test.want {
			t.Errorf("%d of %d: %v, warned %v", test.deleted, test.owned, p.MassDelete(), warned)
		}
	}
}

func TestIDDependsOnContentOnly(t *testing.T) {
	id := func(change func(*scene)) string {
		s := inOrder()
		s.want.Workspaces[0].Env = []spec.EnvVar{{Name: "A", Value: "1"}}
		change(s)
		p, err := plan.New(s.want, s.now, s.options)
		if err != nil {
			t.Fatal(err)
		}
		return p.ID()
	}
	first := id(func(*scene) {})
	if !plan.IsID(first) {
		t.Errorf("%q is not an id", first)
	}
	for name, same := range map[string]func(*scene){
		"later":          func(s *scene) { s.now.Time = noon.Add(time.Hour) },
		"record written": func(s *scene) { s.now.Records[0].Version = 9 },
	} {
		if got := id(same); got != first {
			t.Errorf("%s: the id differs", name)
		}
	}
	for name, other := range map[string]func(*scene){
		"another secret": func(s *scene) { s.want.Workspaces[0].Env[0].Value = "2" },
		"another host":   func(s *scene) { s.now.Host, s.now.Records[0].Host, s.now.Instances[0].Host = "x", "x", "x" },
	} {
		if got := id(other); got == first {
			t.Errorf("%s: the id is the same", name)
		}
	}
}
