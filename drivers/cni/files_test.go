package cni_test

import (
	"os"
	"path/filepath"
	"strings"
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
	missing := filepath.Join(dir, "missing")
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub := write("stub", "nameserver 127.0.0.53\noptions edns0\nsearch lab")
	const (
		none     = "# No nameserver of the host can be reached from a container.\n"
		loopback = "# left out: nameserver 127.0.0.53: on the loopback of the host\n"
	)
	links := write("links", "nameserver fe80::1%eth0\nnameserver fe80::2\nnameserver fd00::1\nnameserver x\nnameserver 192.0.2.1\n")
	left := "# left out: nameserver fe80::1%eth0: on a link of the host\n# left out: nameserver fe80::2: on a link of the host\n"
	for name, c := range map[string]struct {
		host, systemd string
		six           bool
		want          string
	}{
		"plain":           {write("plain", "nameserver 192.0.2.1\n# note\nsearch lab"), stub, false, "nameserver 192.0.2.1\n# note\nsearch lab\n"},
		"mixed":           {write("mixed", "nameserver 127.0.0.53\nnameserver 192.0.2.1\n"), missing, false, "nameserver 192.0.2.1\n" + loopback},
		"systemd's stub":  {stub, write("real", "nameserver 192.0.2.2\nsearch lab\n"), false, "nameserver 192.0.2.2\nsearch lab\n"},
		"only loopback":   {stub, missing, false, "options edns0\nsearch lab\n" + loopback + none},
		"no file at all":  {missing, missing, false, none},
		"stub everywhere": {stub, stub, false, "options edns0\nsearch lab\n" + loopback + none},
		"links":           {links, missing, true, "nameserver fd00::1\nnameserver 192.0.2.1\n" + left + "# left out: nameserver x: not an address\n"},
		"without IPv6": {links, missing, false, "nameserver 192.0.2.1\n" + left +
			"# left out: nameserver fd00::1: workspaces have no IPv6\n# left out: nameserver x: not an address\n"},
		"only IPv6": {write("six", "nameserver fd00::1\n"), missing, false, "# left out: nameserver fd00::1: workspaces have no IPv6\n" + none},
	} {
		got, err := cni.ResolvConf(c.host, c.systemd, c.six)
		if err != nil || got != c.want {
			t.Errorf("%s: %v:\n%s", name, err, cmp.Diff(c.want, got))
		}
	}
}

func TestResolvConfFollowsTheHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	h := newHost(t, func(c *cni.Config) { c.ResolvFile = file })
	stale := func() string { return h.attachment("bot").Stale }
	write := func(text string) { h.must(os.WriteFile(file, []byte(text), 0o644)) }
	write("nameserver 192.0.2.1\nnameserver fe80::1%eth0\n")
	h.attach("bot")
	path := filepath.Join(h.RunDir, "resolv", "bot")
	first := fileInode(t, path)
	if stale() != "" {
		t.Errorf("stale: %s", stale())
	}
	h.must(os.WriteFile(path, []byte("nameserver fe80::1%eth0\nnameserver 192.0.2.1\n"), 0o644)) // as an older carrel did
	if stale() != "" {
		t.Errorf("a newer carrel changes it: %s", stale())
	}
	write("nameserver 192.0.2.2\n")
	if want := file + " of the host has changed"; stale() != want {
		t.Errorf("stale: %q", stale())
	}
	h.attach("bot")
	if text, err := os.ReadFile(path); err != nil || string(text) != "nameserver 192.0.2.2\n" || fileInode(t, path) != first || stale() != "" {
		t.Errorf("%v: %s, %s", err, text, stale())
	}
	h.must(os.Remove(file))
	if stale() == "" {
		t.Error("a file that is gone is no change")
	}
	notes := h.NameServers()
	if len(notes) != 1 || !strings.Contains(notes[0], file+" has no nameserver that workspaces can reach") {
		t.Errorf("notes: %q", notes)
	}
}
