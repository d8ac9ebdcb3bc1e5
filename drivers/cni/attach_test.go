package cni_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/drivers/cni"
	"carrel/plan"
	"carrel/spec"
)

// patience limits each connection.
const patience = 5 * time.Second

// ask connects and reads until the other end closes.
func ask(address string) (string, error) {
	c, err := net.DialTimeout("tcp4", address, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	text, err := io.ReadAll(c)
	return string(text), err
}

// hears fails the test unless the workspace answers at the address.
func (h *host) hears(workspace, address string) {
	h.t.Helper()
	if got, err := ask(address); got != workspace || err != nil {
		h.t.Errorf("%s at %s: %q, %v", workspace, address, got, err)
	}
}

// freePort is a port of the host that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestDetachLeavesNothing(t *testing.T) {
	h := newHost(t, nil)
	port := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	h.attach("first") // makes the bridge, which stays
	before := h.traces()
	first := h.attach("bot", port)
	link := h.veth("bot")
	for range 2 {
		if diff := cmp.Diff(first, h.attach("bot", port)); diff != "" {
			t.Errorf("attached again:\n%s", diff)
		}
	}
	if len(h.traces()) <= len(before) || !h.hasLink(link) {
		t.Fatalf("an attach left no traces: %v", h.traces())
	}
	for range 2 {
		h.detach("bot")
		if diff := cmp.Diff(before, h.traces()); diff != "" {
			t.Errorf("after the detach (-before +after):\n%s", diff)
		}
	}
	if h.hasLink(link) {
		t.Errorf("interface %s is still there", link)
	}
	h.detach("first")
	h.isClean()
	if !h.hasLink(h.Bridge()) {
		t.Error("the bridge was deleted")
	}
}

func TestNothingIsTouchedUntilUse(t *testing.T) {
	h := newHost(t, func(c *cni.Config) { c.BinDirs = []string{"/nonexistent"} })
	t.Setenv("PATH", "/nonexistent")
	if all := h.attachments(); len(all) != 0 {
		t.Errorf("attachments: %+v", all)
	}
	h.detach("bot")
	for _, dir := range []string{h.RunDir, h.StateDir} {
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s was made", dir)
		}
	}
	want := fmt.Sprintf("built-in bridge %s, %s, IPv4 only: %s has no configuration", h.Bridge(), h.Subnet, h.ConfDir)
	if got := h.Description(); got != want {
		t.Errorf("description %q, not %q", got, want)
	}
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin") // for the cleaning
}

func TestWorkspacesReachEachOther(t *testing.T) {
	h := newHost(t, nil)
	one, two := h.attach("one"), h.attach("two")
	h.serve("one", 80)
	h.hears("one", one.Addresses[0]+":80")
	err := h.inside("two", func() error {
		h.hears("one", one.Addresses[0]+":80")
		return nil
	})
	h.must(err)
	h.serve("two", 80)
	h.must(h.inside("two", func() error {
		h.hears("two", "127.0.0.1:80")
		return nil
	}))
	if one.Addresses[0] == two.Addresses[0] || one.Netns == two.Netns {
		t.Errorf("they share: %+v, %+v", one, two)
	}
}

func TestPublishedPorts(t *testing.T) {
	h := newHost(t, nil)
	tcp := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	udp := spec.Port{Host: freePort(t), Container: 53, Protocol: "udp"}
	h.attach("bot", tcp, udp)
	h.serve("bot", 80)
	address := fmt.Sprintf("127.0.0.1:%d", tcp.Host)
	h.hears("bot", address)
	h.detach("bot")
	h.isClean()
	if _, err := ask(address); err == nil {
		t.Error("the port is open after the detach")
	}
	// Other ports of a workspace that lives take the place of the first ones.
	moved := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	first := h.attach("bot", tcp)
	second := h.attach("bot", moved)
	if first.Netns != second.Netns {
		t.Error("other ports cost the namespace")
	}
	h.serve("bot", 80)
	h.hears("bot", fmt.Sprintf("127.0.0.1:%d", moved.Host))
	if _, err := ask(address); err == nil {
		t.Error("the old port is still open")
	}
}

func TestSideBySide(t *testing.T) {
	h := newHost(t, nil)
	var group sync.WaitGroup
	const many = 20
	name := func(i int) string { return fmt.Sprintf("bot-%d", i) }
	for i := range many {
		group.Go(func() {
			if err := h.AttachNetwork(t.Context(), attach(name(i))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, a := range h.attachments() {
		seen[strings.Join(a.Addresses, "")] = true
		if a.Broken != "" {
			t.Errorf("%+v", a)
		}
	}
	if len(seen) != many {
		t.Errorf("%d workspaces have %d addresses", many, len(seen))
	}
	text, err := os.ReadFile(filepath.Join(h.RunDir, "hosts", "bots"))
	h.must(err)
	for i := range many {
		if !strings.Contains(string(text), "\t"+name(i)+"\n") {
			t.Errorf("the hosts file has no %s:\n%s", name(i), text)
		}
	}
	for i := range many {
		group.Go(func() {
			if err := h.DetachNetwork(t.Context(), plan.DetachNetwork{Workspace: name(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	h.isClean()
}

func TestPinsAreSeenByOtherMountNamespaces(t *testing.T) {
	h := newHost(t, nil)
	h.attach("first")
	// containerd's may be another than carrel's, made before a workspace was.
	other := exec.Command("unshare", "--mount", "--propagation", "slave", "cat")
	hold, err := other.StdinPipe()
	h.must(err)
	said, err := other.StdoutPipe()
	h.must(err)
	h.must(other.Start())
	_, err = hold.Write([]byte("x")) // comes back when cat runs, in its namespace
	h.must(err)
	_, err = said.Read(make([]byte, 1))
	h.must(err)
	seen := func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", other.Process.Pid))
		h.must(err)
		return strings.Contains(string(text), h.netns("bot"))
	}
	h.attach("bot")
	if !seen() {
		t.Error("the pin is not seen")
	}
	h.detach("bot")
	if seen() {
		t.Error("the pin is still seen")
	}
	h.must(hold.Close())
	h.must(other.Wait())
}

func TestAThousandAreReadFast(t *testing.T) {
	h := newHost(t, nil)
	h.attach("bot", spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp"})
	text, err := os.ReadFile(h.recordFile("bot"))
	h.must(err)
	const many = 1000
	for i := range many {
		name := fmt.Sprintf("bot-%d", i)
		one := strings.ReplaceAll(string(text), `"workspace":"bot"`, fmt.Sprintf("%q:%q", "workspace", name))
		h.must(os.WriteFile(h.recordFile(name), []byte(one), 0o600))
	}
	start := time.Now()
	all := h.attachments()
	if took := time.Since(start); took > time.Second { // tens of ms; others may be busy on this host
		t.Errorf("took %s", took)
	} else {
		t.Logf("%d attachments in %s", len(all), took)
	}
	if len(all) != many+1 {
		t.Errorf("%d attachments", len(all))
	}
	for i := range many { // all are of the same attachment
		h.must(os.Remove(h.recordFile(fmt.Sprintf("bot-%d", i))))
	}
}
