package cni_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/drivers/cni"
	"carrel/plan"
	"carrel/plan/state"
)

func fileInode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o644 {
		t.Errorf("%s has mode %v: who is not root cannot read it", path, info.Mode())
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestHostsFile(t *testing.T) {
	h := newHost(t, nil)
	path := filepath.Join(h.RunDir, "hosts", "bots")
	lines := func(attached ...state.Attachment) string {
		text := "# The workspaces of set bots. carrel writes this file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
		for _, a := range attached {
			text += a.Addresses[0] + "\t" + a.Workspace + "\n"
		}
		return text
	}
	check := func(want string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if h.must(err); string(text) != want {
			t.Errorf("hosts file:\n%s", cmp.Diff(want, string(text)))
		}
	}
	two := h.attach("two")
	first := fileInode(t, path)
	one := h.attach("localhost") // a name like any other
	check(lines(one, two))
	h.detach("localhost")
	check(lines(two))
	one = h.attach("one")
	check(lines(one, two))
	if fileInode(t, path) != first {
		t.Error("a container that has the hosts file mounted would not see the change")
	}
	h.must(os.RemoveAll(filepath.Join(h.RunDir, "hosts")))
	h.must(os.RemoveAll(filepath.Join(h.RunDir, "resolv")))
	h.attach("one") // is attached: only its files are written again
	check(lines(one, two))
	fileInode(t, filepath.Join(h.RunDir, "resolv", "one"))
	h.must(h.AttachNetwork(t.Context(), plan.AttachNetwork{Workspace: "one", Set: "others"}))
	check(lines(two))
	fileInode(t, filepath.Join(h.RunDir, "hosts", "others"))
}

// A crash or a full disk may leave a hosts file empty or cut.
func TestHostsFileThatIsCut(t *testing.T) {
	h := newHost(t, nil)
	path := filepath.Join(h.RunDir, "hosts", "bots")
	h.attach("one")
	h.attach("two")
	want, err := os.ReadFile(path)
	h.must(err)
	for _, size := range []int64{0, 60, int64(len(want)) - 3} {
		h.must(os.Truncate(path, size))
		h.attach("two")
		if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
			t.Errorf("cut at %d: %v:\n%s", size, err, cmp.Diff(string(want), string(got)))
		}
	}
	h.must(os.Truncate(path, 0))
	h.detach("one")
	h.must(os.Truncate(path, 0))
	h.detach("two")
	h.isClean()
}

func TestResolvConfOfTheHost(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub := write("stub", "nameserver 127.0.0.53\noptions edns0\nsearch lab")
	const note = "# No nameserver of the host can be reached from a container.\n"
	for name, c := range map[string]struct{ host, systemd, want string }{
		"plain":           {write("plain", "nameserver 192.0.2.1\n# note\nsearch lab"), stub, "nameserver 192.0.2.1\n# note\nsearch lab\n"},
		"mixed":           {write("mixed", "nameserver ::1\nnameserver 127.0.0.1\nnameserver 192.0.2.1\n"), none, "nameserver 192.0.2.1\n"},
		"systemd's stub":  {stub, write("real", "nameserver 192.0.2.2\nsearch lab\n"), "nameserver 192.0.2.2\nsearch lab\n"},
		"only loopback":   {stub, none, "options edns0\nsearch lab\n" + note},
		"no file at all":  {none, none, note},
		"stub everywhere": {stub, stub, "options edns0\nsearch lab\n" + note},
	} {
		got, err := cni.ResolvOfHost(c.host, c.systemd)
		if err != nil || got != c.want {
			t.Errorf("%s: %v:\n%s", name, err, cmp.Diff(c.want, got))
		}
	}
}
