//go:build soak

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"

	"carrel/drivers/drivertest"
	"carrel/plan/report"
)

// How long the soak test lasts, unless the variable says otherwise, and how many
// workspaces it has. Every third one has a network.
const (
	soakVariable = "CARREL_SOAK"
	soakTime     = 10 * time.Minute
	soaked       = 30
	soakedCNI    = soaked / 3
)

// soak is a host that the test disturbs while an agent manages it.
type soak struct {
	*bed
	postgres *drivertest.Postgres
	agent    *watcher
	images   []string
	specs    string
	sums     map[string][32]byte // of data, by workspace
	did      map[string]int
}

// TestSoak disturbs a host for a while. At the end the host matches its specs, all
// data exists, and nothing has leaked.
func TestSoak(t *testing.T) {
	lasts := soakTime
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newSoak(t)
	s.agent.eventually("all run", func(r report.Agent) bool { return running(r) == soaked && len(r.Working) == 0 })
	s.fill()
	before, memory := s.use(), []float64{}
	actions := s.actions()
	names := []string{}
	for name := range actions {
		names = append(names, name)
	}
	slices.Sort(names)
	sample := time.Now()
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		name := names[rand.IntN(len(names))]
		actions[name]()
		s.did[name]++
		time.Sleep(rand.N(time.Second)) // the disturbances do not wait for the agent
		if time.Since(sample) > lasts/40 {
			sample = time.Now()
			memory = append(memory, s.agent.metric("process_resident_memory_bytes"))
		}
	}
	t.Logf("it was done: %v", s.did)
	s.mend()
	s.check(before, memory)
}

func newSoak(t *testing.T) *soak {
	s := &soak{bed: newBedOn(t, drivertest.NewContainerd(t)), postgres: drivertest.NewPostgres(t), sums: map[string][32]byte{}, did: map[string]int{}}
	s.store = s.postgres.Database(t)
	s.images = []string{s.archive("v1"), s.archive("v2")}
	s.specs = filepath.Join(s.dir, "specs")
	s.must(os.Mkdir(s.specs, 0o755))
	for i := range soaked {
		s.write(i, s.images[0], 1)
	}
	s.git("init -q -b main")
	s.git("add .", "commit -q -m main", "checkout -q -b other")
	for i := range 5 {
		s.write(i, s.images[1], 1)
	}
	for i := 5; i < 9; i++ {
		s.must(os.Remove(s.path(i)))
	}
	s.git("add .", "commit -q -m other", "checkout -q main")
	s.agent = s.watch(s.specs, "--resync", "20s")
	return s
}

func (s *soak) path(i int) string { return filepath.Join(s.specs, fmt.Sprintf("w%d.yaml", i)) }

// write writes the spec of a workspace, with a label that differs each time.
func (s *soak) write(i int, image string, label int) {
	network := "none"
	if i%3 == 0 {
		network = "cni"
	}
	text := fmt.Sprintf("apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: w%d, labels: {n: \"%d\"}}\nspec: {image: %q, network: {mode: %s}, stop: {gracePeriod: 2s}}\n", i, label, image, network)
	s.must(os.WriteFile(s.path(i), []byte(text), 0o644))
}

func (s *soak) git(lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		cmd := exec.Command("git", strings.Fields(line)...)
		cmd.Dir = s.specs
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("git %s: %v: %s", line, err, out)
		}
	}
}

// fill writes data that must never be lost.
func (s *soak) fill() {
	for i := range soaked {
		data := make([]byte, 256<<10)
		for at := range data {
			data[at] = byte(rand.Uint32())
		}
		name := fmt.Sprintf("w%d", i)
		s.sums[name] = sha256.Sum256(data)
		s.must(os.WriteFile(filepath.Join(s.dir, "state/volumes", name, "work"), data, 0o644))
	}
}

// actions are the disturbances, by name.
func (s *soak) actions() map[string]func() {
	label := 1
	return map[string]func(){
		"edit a label": func() {
			label++
			s.write(rand.IntN(soaked), s.images[0], label)
		},
		"edit an image": func() { s.write(rand.IntN(soaked), s.images[rand.IntN(2)], 1) },
		"break a file": func() {
			s.must(os.WriteFile(s.path(rand.IntN(soaked)), []byte("kind: [\n"), 0o644))
		},
		"empty a file":  func() { s.must(os.WriteFile(s.path(rand.IntN(soaked)), nil, 0o644)) },
		"checkout":      func() { s.git("checkout -q -f " + []string{"main", "other"}[rand.IntN(2)]) },
		"kill a task":   func() { s.kill(rand.IntN(soaked)) },
		"kill two":      func() { s.kill(rand.IntN(soaked)); s.kill(rand.IntN(soaked)) },
		"apply":         func() { s.person("apply", s.specs, "--lock-timeout", "5s") },
		"reload":        func() { s.must(s.agent.cmd.Process.Signal(syscall.SIGHUP)) },
		"lose the tree": func() { s.must(errors.Join(os.Rename(s.specs, s.specs+".away"), os.Rename(s.specs+".away", s.specs))) },
		"restart containerd": func() {
			s.must(s.daemon.Kill())
			time.Sleep(rand.N(time.Second))
			s.must(s.daemon.Start())
		},
		"restart Postgres": func() {
			s.must(s.postgres.Kill())
			time.Sleep(rand.N(time.Second))
			s.must(s.postgres.Start())
		},
	}
}

// kill kills the task of a workspace, if it has one now.
func (s *soak) kill(i int) {
	container, err := s.client.LoadContainer(context.Background(), fmt.Sprintf("w%d", i))
	if err != nil {
		return // the workspace is being replaced, or is not on this branch
	}
	if task, err := container.Task(context.Background(), nil); err == nil {
		_ = task.Kill(context.Background(), syscall.SIGKILL) // the task may have exited by itself
	}
}

// person runs the program while the agent runs. It may be refused.
func (s *soak) person(args ...string) { _ = s.command(args...).Run() }

// use is the resources that the agent uses.
type use struct{ goroutines, files float64 }

func (s *soak) use() use {
	return use{s.agent.metric("go_goroutines"), s.agent.metric("process_open_fds")}
}

// mend restores the files, and waits until the host matches them.
func (s *soak) mend() {
	s.t.Helper()
	s.git("checkout -q -f main", "clean -fdq")
	s.must(s.agent.cmd.Process.Signal(syscall.SIGHUP))
	seen := time.Now().Add(3 * time.Second) // by then the agent has read the files
	s.agent.eventually("all run, and nothing is left to do", func(r report.Agent) bool {
		return r.SyncedAt.After(seen) && running(r) == soaked && len(r.Working)+len(r.Pending)+len(r.Waiting)+len(r.Errors) == 0 && r.Trouble == ""
	})
	if out := s.run("plan", s.specs); !strings.Contains(out, fmt.Sprintf("Nothing to do for set default on host testhost: %d unchanged", soaked)) {
		s.t.Errorf("at the end there is something to do:\n%s", out)
	}
}

func (s *soak) check(before use, memory []float64) {
	s.t.Helper()
	for name, sum := range s.sums {
		data, err := os.ReadFile(filepath.Join(s.dir, "state/volumes", name, "work"))
		if err != nil || sha256.Sum256(data) != sum {
			s.t.Errorf("the data of %s: %v, %d bytes", name, err, len(data))
		}
	}
	for what, n := range map[string][2]int{
		"shims":            {s.shims(), soaked},
		"root filesystems": {s.snapshots(), soaked},
		"namespaces":       {s.count("run/netns/*"), soakedCNI},
		"attachments":      {s.count("state/networks/*.json"), soakedCNI},
		"interfaces":       {s.interfaces(), soakedCNI},
		"trash":            {s.count("state/trash/*"), 0},
		"half-made data":   {s.count("state/partial/*"), 0},
	} {
		if n[0] != n[1] {
			s.t.Errorf("%d %s are left, and %d are in use", n[0], what, n[1])
		}
	}
	after := s.use()
	early, late := median64(memory[len(memory)/4:len(memory)/2]), median64(memory[3*len(memory)/4:])
	s.t.Logf("goroutines %.0f -> %.0f, open files %.0f -> %.0f, resident memory %.1f -> %.1f MiB", before.goroutines, after.goroutines,
		before.files, after.files, early/(1<<20), late/(1<<20))
	if after.goroutines > before.goroutines+5 || after.files > before.files+5 {
		s.t.Errorf("the agent leaks: %+v -> %+v", before, after)
	}
	if late > 1.25*early {
		s.t.Errorf("the memory of the agent grows: %v", memory)
	}
}

func median64(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func (s *soak) count(pattern string) int {
	found, err := filepath.Glob(filepath.Join(s.dir, pattern))
	s.must(err)
	return len(found)
}

// shims are the shim processes of the tasks of this test.
func (s *soak) shims() int {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	s.must(err)
	n := 0
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "containerd-shim") && strings.Contains(string(text), "\x00"+s.space+"\x00") {
			n++
		}
	}
	return n
}

func (s *soak) snapshots() int {
	n := 0
	s.must(s.client.SnapshotService("overlayfs").Walk(context.Background(), func(_ context.Context, info snapshots.Info) error {
		if info.Kind != snapshots.KindCommitted {
			n++
		}
		return nil
	}))
	return n
}

// interfaces are the interfaces on the bridge of the subnet.
func (s *soak) interfaces() int {
	all, err := net.Interfaces()
	s.must(err)
	for _, bridge := range all {
		addresses, err := bridge.Addrs()
		s.must(err)
		for _, a := range addresses {
			if strings.HasPrefix(a.String(), strings.TrimSuffix(s.subnet, "0/24")) {
				on, err := filepath.Glob(filepath.Join("/sys/class/net", bridge.Name, "brif/*"))
				s.must(err)
				return len(on)
			}
		}
	}
	return 0
}
