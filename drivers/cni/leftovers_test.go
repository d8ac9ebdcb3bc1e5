package cni_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"carrel/drivers/cni"
	"carrel/spec"
)

// broken fails the test unless the attachment is broken for that reason.
func (h *host) broken(workspace, why string) {
	h.t.Helper()
	if a := h.attachment(workspace); !strings.Contains(a.Broken, why) {
		h.t.Errorf("attachment of %s is %+v: Broken has no %q", workspace, a, why)
	}
}

// reboot removes what a reboot does: namespaces and the run dir.
func (h *host) reboot() {
	h.t.Helper()
	pins, err := filepath.Glob(filepath.Join(h.RunDir, "netns", "*"))
	h.must(err)
	for _, pin := range append(pins, filepath.Join(h.RunDir, "netns")) {
		_ = unix.Unmount(pin, unix.MNT_DETACH)
	}
	h.must(os.RemoveAll(h.RunDir))
}

// Each leftover is made for real. Then an attach must work, and so must a detach
// without an attach before it.
func TestLeftoversAreRepaired(t *testing.T) {
	port := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	leftovers := map[string]struct {
		make func(h *host)
		why  string
	}{
		"reboot": {why: "namespace is gone", make: func(h *host) { h.reboot() }},
		"reboot that lost the leases": {why: "namespace is gone", make: func(h *host) {
			h.reboot()
			h.must(os.RemoveAll(filepath.Join(leases, h.Bridge())))
		}},
		"cut short after the ADD": {why: "cut short", make: func(h *host) { h.must(h.CutShort("bot")) }},
		"cut short before the namespace": {why: "cut short", make: func(h *host) {
			h.must(h.CutShort("bot"))
			h.reboot()
		}},
		"namespace file that is no namespace": {why: "namespace is gone", make: func(h *host) {
			h.must(unix.Unmount(h.netns("bot"), unix.MNT_DETACH))
		}},
		"host's interface deleted": {why: "is gone", make: func(h *host) { h.run("ip", "link", "delete", h.veth("bot")) }},
		"bridge deleted":           {why: h0 + " is gone", make: func(h *host) { h.run("ip", "link", "delete", h.Bridge()) }},
		"bridge replaced by one with another MAC": {why: h0 + " was replaced", make: func(h *host) {
			h.run("ip", "link", "delete", h.Bridge())
			h.run("ip", "link", "add", h.Bridge(), "address", "02:00:00:00:00:01", "type", "bridge")
		}},
		"record damaged": {why: "is damaged", make: func(h *host) { h.must(os.Truncate(h.recordFile("bot"), 40)) }},
		"record and cache damaged": {why: "is damaged", make: func(h *host) {
			h.must(os.Truncate(h.recordFile("bot"), 0))
			h.must(os.Remove(h.result("bot")))
		}},
		"detach cut short": {why: "detach was cut short", make: func(h *host) {
			text, err := os.ReadFile(h.recordFile("bot"))
			h.must(err)
			h.must(os.WriteFile(h.recordFile("bot"), []byte(strings.Replace(string(text), "{", `{"detaching":true,`, 1)), 0o600))
		}},
		"hosts files lost":   {why: "is gone", make: func(h *host) { h.must(os.RemoveAll(filepath.Join(h.RunDir, "hosts"))) }},
		"resolv.conf lost":   {why: "is gone", make: func(h *host) { h.must(os.RemoveAll(filepath.Join(h.RunDir, "resolv"))) }},
		"owner file emptied": {why: "", make: func(h *host) { h.must(os.Truncate(filepath.Join(h.RunDir, "owner"), 0)) }},
		"owner file lost":    {why: "", make: func(h *host) { h.must(os.Remove(filepath.Join(h.RunDir, "owner"))) }},
		"record lost":        {why: "has no record", make: func(h *host) { h.must(os.RemoveAll(filepath.Join(h.StateDir, "networks"))) }},
	}
	for name, leftover := range leftovers {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nil)
			for _, repair := range []bool{true, false} {
				h.attach("bot", port)
				leftover.make(h)
				h.broken("bot", strings.ReplaceAll(leftover.why, h0, h.Bridge()))
				if repair {
					h.attach("bot", port)
				}
				h.detach("bot")
				h.isClean()
			}
		})
	}
}

// h0 stands for the name of the bridge.
const h0 = "BRIDGE"

// go-cni takes an error with the words "not found" for success. But the plugins
// after that one did not run: the workspace still has its address.
func TestADetachThatFailsIsAWarning(t *testing.T) {
	h := newHost(t, nil)
	file := filepath.Join(t.TempDir(), "fails")
	h.configure("fail DEL while there is " + file)
	h.attach("bot")
	h.must(os.WriteFile(file, nil, 0o600))
	h.warns("bot", "endpoint not found")
	h.must(os.Remove(file))
	h.cleaned("bot")
}

func TestKilledBetweenAddAndRecord(t *testing.T) {
	h := newHost(t, nil)
	h.configure("kill")
	config, err := json.Marshal(h.Config)
	h.must(err)
	for _, repair := range []bool{true, false} {
		attacher := exec.Command(os.Args[0])
		attacher.Env = append(os.Environ(), child+"="+string(config))
		if out, err := attacher.CombinedOutput(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("the child was not killed: %v: %s", err, out)
		}
		h.broken("bot", "cut short")
		if len(cni.AddressesIn(h.netns("bot"), cni.InterfaceName)) == 0 {
			t.Error("the ADD had not given an address yet")
		}
		if repair {
			h.must(os.RemoveAll(h.ConfDir))
			h.attach("bot")
		}
		h.detach("bot")
		h.isClean()
		h.configure("kill")
	}
}

func TestLeftoversThatNoRecordTellsOf(t *testing.T) {
	t.Run("an address", func(t *testing.T) {
		h := newHost(t, nil)
		h.attach("bot")
		h.reboot()
		h.must(os.RemoveAll(h.StateDir))
		h.attach("bot")
		h.detach("bot")
		h.isClean()
	})
	t.Run("an interface in the namespace", func(t *testing.T) {
		h := newHost(t, nil)
		h.attach("first")
		h.must(cni.Pin(h.netns("bot")))
		h.must(h.inside("bot", func() error {
			return exec.Command("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1").Run()
		}))
		inode := cni.Inode(h.netns("bot"))
		h.broken("bot", "has no record")
		if a := h.attach("bot"); a.Netns != inode {
			t.Error("the namespace was replaced")
		}
	})
	t.Run("a file in the namespace's place", func(t *testing.T) {
		h := newHost(t, nil)
		h.attach("first")
		h.must(os.WriteFile(h.netns("bot"), []byte("x"), 0o600))
		h.broken("bot", "has no record")
		h.attach("bot")
		h.detach("bot")
		h.must(os.WriteFile(h.netns("bot"), []byte("x"), 0o600))
		h.detach("bot")
		h.detach("first")
		h.isClean()
	})
}

func TestInterfaceIsRepairedInItsNamespace(t *testing.T) {
	h := newHost(t, nil)
	port := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	first := h.attach("bot", port)
	h.serve("bot", 80) // a process that lives on
	h.must(h.inside("bot", func() error { return exec.Command("ip", "link", "delete", "eth0").Run() }))
	h.broken("bot", "is gone")
	if again := h.attach("bot", port); again.Netns != first.Netns {
		t.Errorf("namespace %d became %d", first.Netns, again.Netns)
	}
	h.hears("bot", h.attachment("bot").Addresses[0]+":80")
	// An address taken away inside cannot be observed from outside, but is repaired.
	h.must(h.inside("bot", func() error { return exec.Command("ip", "address", "flush", "dev", "eth0").Run() }))
	h.attach("bot", port)
	h.hears("bot", h.attachment("bot").Addresses[0]+":80")
	h.detach("bot")
	h.isClean()
}

func TestTheBridgeOfOthersIsRepairedToo(t *testing.T) {
	h := newHost(t, nil)
	h.attach("one")
	h.attach("two")
	h.run("ip", "link", "delete", h.Bridge())
	h.attach("one") // the bridge is back, but the interface of the other is not in it
	h.broken("two", "was replaced")
	two := h.attach("two")
	h.serve("two", 80)
	h.must(h.inside("one", func() error {
		h.hears("two", two.Addresses[0]+":80")
		return nil
	}))
}

func TestTwoStateDirsDoNotShareARunDir(t *testing.T) {
	h := newHost(t, nil)
	h.attach("bot")
	other := &host{cni.New(cni.Config{
		ConfDir: h.ConfDir, RunDir: h.RunDir, StateDir: t.TempDir(), Namespace: "other", Subnet: h.Subnet,
	}), t}
	if all := other.attachments(); len(all) != 0 {
		t.Errorf("those of another count as leftovers: %+v", all)
	}
	other.detach("bot")
	if err := other.AttachNetwork(t.Context(), attach("bot")); err == nil || !strings.Contains(err.Error(), "belongs to the carrel whose state dir is") {
		t.Errorf("error: %v", err)
	}
	h.attach("bot")
}
