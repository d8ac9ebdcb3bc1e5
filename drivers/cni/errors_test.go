package cni_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"carrel/drivers/cni"
	"carrel/plan"
	"carrel/spec"
)

// refuses fails the test unless the attach says why it fails, in one line, and
// leaves nothing.
func (h *host) refuses(s plan.AttachNetwork, words string) {
	h.t.Helper()
	before := len(h.traces())
	err := h.AttachNetwork(h.t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		h.t.Errorf("error %q has no %q, or several lines", err, words)
	}
	if left := h.traces(); len(left) != before {
		h.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func TestFullSubnet(t *testing.T) {
	h := newHost(t, func(c *cni.Config) { c.Subnet = strings.TrimSuffix(c.Subnet, "24") + "30" })
	h.attach("one")
	h.refuses(attach("two"), fmt.Sprintf("subnet %s is full: all 1 addresses for workspaces are taken (detach some, or give a larger subnet with --subnet)", h.Subnet))
	h.detach("one")
	h.attach("two")
}

func TestTakenPorts(t *testing.T) {
	h := newHost(t, nil)
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	h.must(err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "0.0.0.0:0")
	h.must(err)
	defer udp.Close()
	port := tcp.Addr().(*net.TCPAddr).Port
	h.refuses(attach("bot", spec.Port{Host: port, Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}),
		fmt.Sprintf("port 127.0.0.1:%d/tcp is taken on this host (choose another, or stop what listens there)", port))
	h.refuses(attach("bot", spec.Port{Host: port, Container: 80, Protocol: "tcp"}), fmt.Sprintf("port %d/tcp is taken", port))
	port = udp.LocalAddr().(*net.UDPAddr).Port
	h.refuses(attach("bot", spec.Port{Host: port, Container: 80, Protocol: "udp", HostIP: "127.0.0.1"}), fmt.Sprintf("port 127.0.0.1:%d/udp is taken", port))
}

func TestWhatIsMissing(t *testing.T) {
	t.Run("plugin", func(t *testing.T) {
		h := newHost(t, func(c *cni.Config) { c.BinDirs = []string{"/nonexistent", "/nowhere"} })
		h.refuses(attach("bot"), `CNI plugin "bridge" is in none of /nonexistent, /nowhere (install it`)
	})
	t.Run("iptables", func(t *testing.T) {
		h := newHost(t, nil)
		path := os.Getenv("PATH")
		t.Setenv("PATH", "/nonexistent")
		err := h.AttachNetwork(t.Context(), attach("bot"))
		if err == nil || !strings.Contains(err.Error(), "iptables is not installed") {
			t.Errorf("error: %v", err)
		}
		t.Setenv("PATH", path)
		h.isClean()
	})
}

func TestWithoutPermission(t *testing.T) {
	h := newHost(t, nil)
	config, err := json.Marshal(h.Config)
	h.must(err)
	nobody := exec.Command("/proc/self/exe") // whose folder only root may enter
	nobody.Env = append(os.Environ(), child+"="+string(config))
	nobody.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := nobody.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run carrel as root") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNamesThatLeadElsewhere(t *testing.T) {
	h := newHost(t, nil)
	for _, name := range []string{"", "..", "../bot", "a/b", "Bot", "a\x00"} {
		h.refuses(attach(name), "not a name that a file can have")
		h.refuses(plan.AttachNetwork{Workspace: "bot", Set: name}, "not a name that a file can have")
		if err := h.DetachNetwork(t.Context(), plan.DetachNetwork{Workspace: name}); err == nil {
			t.Errorf("detached %q", name)
		}
	}
}

func TestConfigurationOfTheHost(t *testing.T) {
	h := newHost(t, nil)
	h.configure("name servers")
	h.writeConf("20-later.conf", `{"cniVersion": "1.0.0", "name": "later", "type": "nothing"}`)
	h.writeConf("05-ignored.txt", "not a configuration")
	want := fmt.Sprintf("network %s of %s", h.Bridge(), filepath.Join(h.ConfDir, "10-test.conflist"))
	if got := h.Description(); got != want {
		t.Errorf("description %q, not %q", got, want)
	}
	h.attach("bot")
	text, err := os.ReadFile(filepath.Join(h.RunDir, "resolv", "bot"))
	if h.must(err); string(text) != "search lab.example\nnameserver 192.0.2.53\n" {
		t.Errorf("resolv.conf: %s", text)
	}
	// What was attached by a configuration that is gone is detached by it.
	h.must(os.RemoveAll(h.ConfDir))
	h.detach("bot")
	h.isClean()
}

func TestConfigurationOfOnePlugin(t *testing.T) {
	h := newHost(t, nil)
	h.writeConf("10-old.conf", fmt.Sprintf(`{"cniVersion": "0.4.0", "name": %q, "type": "bridge", "bridge": %q, "isGateway": true,
		"ipam": {"type": "host-local", "subnet": %q}}`, h.Bridge(), h.Bridge(), h.Subnet))
	h.attach("bot")
	h.detach("bot")
	h.isClean()
}

func TestConfigurationsThatDoNotWork(t *testing.T) {
	for name, c := range map[string]struct{ do, words string }{
		"no address":    {"drop addresses", "gave bot no address (its configuration needs an ipam part)"},
		"plugin fails":  {"fail", "no link to the switch"},
		"ports ignored": {"", "cannot publish ports (add the portmap plugin"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nil)
			h.configure(c.do)
			s := attach("bot")
			if c.do == "" {
				s.Ports = []spec.Port{{Host: 1, Container: 1, Protocol: "tcp"}}
			}
			h.refuses(s, c.words)
		})
	}
	for name, text := range map[string]string{
		"05-bad.conflist":   `{"name": `,
		"05-empty.conflist": `{"cniVersion": "1.0.0", "name": "x", "plugins": []}`,
		"05-name.conflist":  `{"cniVersion": "1.0.0", "name": "../x", "plugins": [{"type": "bridge"}]}`,
		"05-type.conf":      `{"cniVersion": "1.0.0", "name": "x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nil)
			h.configure("")
			h.writeConf(name, text)
			h.refuses(attach("bot"), filepath.Join(h.ConfDir, name)+": ")
		})
	}
}

func TestBadSubnets(t *testing.T) {
	h := newHost(t, nil)
	good := h.Subnet
	for _, subnet := range []string{"10.0.0.0", "10.64.1.0/31", "fd00::/64", "0.0.0.0/0", "x"} {
		h.Subnet = subnet
		if err := h.AttachNetwork(t.Context(), attach("bot")); err == nil || !strings.Contains(err.Error(), "--subnet") {
			t.Errorf("%s: %v", subnet, err)
		}
	}
	h.Subnet = good
}

func TestInterruptedAttachLeavesNothing(t *testing.T) {
	h := newHost(t, nil)
	pipe := filepath.Join(t.TempDir(), "pipe")
	h.must(syscall.Mkfifo(pipe, 0o600))
	h.configure("hang " + pipe)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if f, err := os.Open(pipe); err == nil { // when the plugins before have done their part
			defer f.Close()
		}
		cancel()
	}()
	if err := h.AttachNetwork(ctx, attach("bot")); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	h.isClean()
}

func TestPortOfAnotherFamily(t *testing.T) {
	h := newHost(t, nil)
	h.attach("first") // makes the bridge
	h.refuses(attach("bot", spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "::1"}), "cannot be published on ::1: network "+h.Bridge()+" has only 10.")
}
