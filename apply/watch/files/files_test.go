package files_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carrel/apply/watch/files"
)

// tree is a folder of specs that is watched.
type tree struct {
	t       *testing.T
	dir     string // everything is in it
	root    string // what is watched
	changed chan struct{}
	files   *files.Watcher
	log     *lines
}

// lines are a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newTree(t *testing.T, root string) *tree {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &tree{t: t, dir: dir, root: filepath.Join(dir, root), changed: make(chan struct{}, 1), log: &lines{}}
	b.files = files.New([]string{b.root}, 20*time.Millisecond, slog.New(slog.NewTextHandler(b.log, nil)), func() {
		select {
		case b.changed <- struct{}{}:
		default:
		}
	})
	return b
}

// run runs Files until the test ends.
func (b *tree) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	b.changed <- struct{}{} // the first time, they are read without a report
	b.becomes("nothing")
	go func() { b.files.Run(ctx); close(ended) }()
	b.t.Cleanup(func() { cancel(); <-ended })
}

// read is what the files below the root have, and the folders they are in.
func (b *tree) read() (text string, folders []string) {
	real, err := filepath.EvalSymlinks(b.root)
	if err != nil {
		return "nothing", nil
	}
	err = filepath.WalkDir(real, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // it disappeared while it was read: another change is reported
		}
		if entry.IsDir() {
			folders = append(folders, path)
			return nil
		}
		if strings.HasSuffix(path, ".yaml") || filepath.Base(path) == ".carrelignore" {
			content, err := os.ReadFile(path)
			if err == nil {
				text += fmt.Sprintf("%s=%s ", filepath.Base(path), strings.TrimSpace(string(content)))
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(text), folders
}

// becomes waits until the files have this content. As an agent does, it reads them
// only after a change was reported, and has the folders that it read be watched.
func (b *tree) becomes(want string) {
	b.t.Helper()
	for {
		select {
		case <-b.changed:
		case <-b.t.Context().Done():
			b.t.Fatalf("no change was reported after which the files are %q", want)
		}
		text, folders := b.read()
		b.files.Follow(folders)
		if text == want {
			return
		}
	}
}

func (b *tree) sh(line string) {
	b.t.Helper()
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// stories are what users and programs do to files: each step is a shell line, and
// the content of the files after it.
var stories = map[string][][2]string{
	"an editor": {
		{"mkdir specs; echo 1 > specs/a.yaml", "a.yaml=1"},
		{"echo 2 > specs/.a.yaml.swp; echo 2 > specs/4913; rm specs/4913; cp specs/a.yaml specs/a.yaml~; echo 2 > specs/new; mv specs/new specs/a.yaml", "a.yaml=2"},
		{"echo 3 > specs/a.yaml", "a.yaml=3"},
		{"rm specs/a.yaml; echo 4 > specs/b.yaml", "b.yaml=4"},
	},
	"git": {
		{"git init -q -b main specs; cd specs; echo 1 > a.yaml; mkdir sub; echo 1 > sub/b.yaml; git add .; git commit -qm 1", "a.yaml=1 b.yaml=1"},
		{"cd specs; git checkout -q -b other; git rm -q -r sub; mkdir -p more/deep; echo 2 > more/deep/c.yaml; git add .; git commit -qm 2", "a.yaml=1 c.yaml=2"},
		{"cd specs; git checkout -q main", "a.yaml=1 b.yaml=1"},
		{"cd specs; git checkout -q other", "a.yaml=1 c.yaml=2"},
		{"cd specs; echo 3 > more/deep/c.yaml", "a.yaml=1 c.yaml=3"},
	},
	"an ignore file": {
		{"mkdir specs; echo 1 > specs/a.yaml", "a.yaml=1"},
		{"echo b > specs/.carrelignore", ".carrelignore=b a.yaml=1"},
		{"echo c > specs/.carrelignore", ".carrelignore=c a.yaml=1"},
		{"rm specs/.carrelignore", "a.yaml=1"},
	},
	"a swap of symlinks": {
		{"mkdir -p specs/..1; echo 1 > specs/..1/a.yaml; ln -s ..1 specs/..data; ln -s ..data/a.yaml specs/a.yaml", "a.yaml=1 a.yaml=1"},
		{"mkdir specs/..2; echo 2 > specs/..2/a.yaml; ln -s ..2 specs/..tmp; mv -T specs/..tmp specs/..data; rm -r specs/..1", "a.yaml=2 a.yaml=2"},
	},
	"folders come and go": {
		{"mkdir -p specs/x/y/z; echo 1 > specs/x/y/z/a.yaml", "a.yaml=1"},
		{"mv specs/x specs/w", "a.yaml=1"},
		{"echo 2 > specs/w/y/z/a.yaml", "a.yaml=2"},
		{"rm -r specs/w", ""},
		{"mkdir -p specs/w/y/z; echo 3 > specs/w/y/z/a.yaml", "a.yaml=3"},
		{"echo 4 > specs/w/y/z/a.yaml", "a.yaml=4"},
	},
	"the root comes and goes": {
		{"mkdir -p elsewhere; echo 1 > elsewhere/a.yaml; mv elsewhere specs", "a.yaml=1"},
		{"rm -r specs", "nothing"},
		{"mkdir specs; echo 2 > specs/a.yaml", "a.yaml=2"},
		{"mkdir new; echo 3 > new/a.yaml; mv specs old; mv new specs", "a.yaml=3"},
		{"echo 4 > specs/a.yaml", "a.yaml=4"},
	},
	"the root is a symlink": {
		{"mkdir -p rev1/in rev2/in; echo 1 > rev1/in/a.yaml; echo 2 > rev2/in/a.yaml; ln -s rev1/in specs", "a.yaml=1"},
		{"ln -s rev2/in new; mv -T new specs", "a.yaml=2"},
		{"echo 3 > rev2/in/a.yaml", "a.yaml=3"},
	},
}

func (b *tree) play(story [][2]string) {
	b.t.Helper()
	for _, step := range story {
		b.sh(step[0])
		b.becomes(step[1])
	}
}

func TestFilesReportsChanges(t *testing.T) {
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newTree(t, "specs")
			b.run()
			b.play(story)
			if log := b.log.String(); log != "" {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestARootThatDoesNotExistYet(t *testing.T) {
	b := newTree(t, "a/b/c/specs")
	b.run()
	for _, line := range []string{"mkdir a", "mkdir -p a/b/c", "mkdir a/b/c/specs"} {
		b.sh(line)
		<-b.changed
		_, folders := b.read()
		b.files.Follow(folders)
	}
	b.sh("echo 1 > a/b/c/specs/a.yaml")
	b.becomes("a.yaml=1")
}

// pollVariable is set in the test binary when it runs without inotify.
const pollVariable = "CARREL_TEST_WITHOUT_INOTIFY"

// TestFilesArePolled runs the stories without inotify: in a process of a user
// namespace that may have no inotify instance.
func TestFilesArePolled(t *testing.T) {
	if os.Getenv(pollVariable) != "" {
		withoutInotify(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFilesArePolled$", "-test.v")
	cmd.Env = append(os.Environ(), pollVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") != len(stories)+1 {
		t.Errorf("%v: %s", err, out)
	}
}

func withoutInotify(t *testing.T) {
	if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			b := newTree(t, "specs")
			b.run()
			b.play(story)
			if log := b.log.String(); strings.Count(log, "files are polled") != 1 || !strings.Contains(log, "fs.inotify.max_user_instances") {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// TestRemoteFilesArePolled has specs on a filesystem that changes without inotify
// events: an overlay, whose layers are changed directly.
func TestRemoteFilesArePolled(t *testing.T) {
	b := newTree(t, "specs")
	b.run()
	t.Cleanup(func() { b.sh("umount merged") })
	b.play([][2]string{
		{"mkdir lower upper work merged; echo 1 > lower/a.yaml; mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; ln -s merged specs", "a.yaml=1"},
		{"echo 2 > specs/b.yaml", "a.yaml=1 b.yaml=2"},
		{"echo 3 > upper/b.yaml", "a.yaml=1 b.yaml=3"},
		{"rm upper/b.yaml", "a.yaml=1"},
	})
	if log := b.log.String(); strings.Count(log, "files are polled") != 1 || !strings.Contains(log, "is on overlay") {
		t.Errorf("log: %s", log)
	}
}
