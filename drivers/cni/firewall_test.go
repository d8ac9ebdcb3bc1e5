package cni_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"carrel/drivers/cni"
	"carrel/spec"
)

// firewalled tells the test binary that it is a host of its own.
const firewalled = "CARREL_TEST_FIREWALLED"

// A host that forwards nothing by itself, as one with Docker does, and another
// host beside it that knows no way to the subnet of the workspaces. The host is
// a network namespace, so that the policy is of no other test's firewall.
func TestHostThatForwardsNothing(t *testing.T) {
	if os.Getenv(firewalled) == "" {
		host := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		host.Env = append(os.Environ(), firewalled+"=1")
		host.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := host.CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return
	}
	h := newHost(t, nil)
	h.run("ip", "link", "set", "lo", "up")
	h.run("iptables", "-P", "FORWARD", "DROP")
	h.attach("one")
	h.neighbour()
	port := spec.Port{Host: 8080, Container: 80, Protocol: "tcp"}
	two := h.attach("two", port)
	h.serve("two", 80)
	h.serve("neighbour", 80)
	h.must(h.inside("one", func() error {
		h.hears("two", two.Addresses[0]+":80")
		h.hears("neighbour", "192.0.2.2:80") // which answers to the host's address
		return nil
	}))
	h.must(h.inside("neighbour", func() error {
		h.hears("two", "192.0.2.1:8080")
		if err := exec.Command("ip", "route", "add", h.Subnet, "via", "192.0.2.1").Run(); err != nil {
			return err
		}
		c, err := net.DialTimeout("tcp4", two.Addresses[0]+":80", time.Second/4)
		if err == nil {
			c.Close()
			t.Error("a port that is not published can be reached from another host")
		}
		return nil
	}))
}

// neighbour makes another host beside this one, as a namespace.
func (h *host) neighbour() {
	h.t.Helper()
	pin := h.netns("neighbour")
	h.must(cni.Pin(pin))
	fd, err := os.Open(pin)
	h.must(err)
	defer fd.Close()
	h.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "far")
	h.run("ip", "link", "set", "far", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd.Fd()))
	h.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink")
	h.run("ip", "link", "set", "uplink", "up")
	h.must(h.inside("neighbour", func() error {
		for _, words := range [][]string{{"address", "add", "192.0.2.2/24", "dev", "far"}, {"link", "set", "far", "up"}} {
			if err := exec.Command("ip", words...).Run(); err != nil {
				return err
			}
		}
		return nil
	}))
	h.t.Cleanup(func() { h.must(cni.Unpin(filepath.Clean(pin))) })
}
