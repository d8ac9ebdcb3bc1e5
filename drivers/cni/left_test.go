package cni_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carrel/drivers/cni"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

// plugins gives the host a folder of plugins of its own, with those of the system.
func (h *host) plugins() (dir string) {
	h.t.Helper()
	dir = h.t.TempDir()
	for _, name := range []string{"bridge", "host-local", "portmap"} {
		h.must(os.Symlink(filepath.Join("/usr/lib/cni", name), filepath.Join(dir, name)))
	}
	h.BinDirs = []string{dir}
	return dir
}

// chain gives the host the configuration of the built-in bridge.
func (h *host) chain(version string, plugins ...string) {
	h.t.Helper()
	all := []string{fmt.Sprintf(`{"type": "bridge", "bridge": %q, "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]]}}`, h.Bridge(), h.Subnet)}
	for _, name := range plugins {
		all = append(all, fmt.Sprintf(`{"type": %q, "capabilities": {"portMappings": true}}`, name))
	}
	h.writeConf("10-test.conflist", fmt.Sprintf(`{"cniVersion": %q, "name": %q, "plugins": [%s]}`, version, h.Bridge(), strings.Join(all, ", ")))
}

// warns fails the test unless the detach is done with a warning.
func (h *host) warns(workspace, words string) {
	h.t.Helper()
	err := h.DetachNetwork(h.t.Context(), plan.DetachNetwork{Workspace: workspace})
	var warning *plan.Warning
	if !errors.As(err, &warning) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
		h.t.Errorf("the detach says %v, not a warning with %q", err, words)
	}
	for _, a := range h.attachments() {
		if a.Workspace == workspace {
			h.t.Errorf("it is still attached: %+v", a)
		}
	}
}

// left is the only leftover.
func (h *host) left() state.Leftover {
	h.t.Helper()
	all, err := h.Leftovers()
	h.must(err)
	if len(all) != 1 {
		h.t.Fatalf("leftovers: %+v", all)
	}
	return all[0]
}

func (h *host) cleaned(workspace string) {
	h.t.Helper()
	h.must(h.CleanNetwork(h.t.Context(), plan.CleanNetwork{Workspace: workspace}))
	all, err := h.Leftovers()
	if h.must(err); len(all) > 0 {
		h.t.Errorf("leftovers: %+v", all)
	}
	h.isClean()
}

func TestAVersionThatPluginsDoNotKnow(t *testing.T) {
	h := newHost(t, nil)
	h.chain("9.9.9")
	h.refuses(attach("bot"), `has cniVersion "9.9.9", and plugin "bridge" of this host knows `)
	// An older carrel began the attach all the same.
	for _, mend := range []func(){func() { h.chain("1.0.0") }, func() { h.must(os.RemoveAll(h.ConfDir)) }} {
		for _, repair := range []bool{true, false} {
			h.chain("1.0.0")
			h.attach("bot")
			h.must(h.CutShort("bot"))
			text, err := os.ReadFile(h.recordFile("bot"))
			h.must(err)
			h.must(os.WriteFile(h.recordFile("bot"), []byte(strings.ReplaceAll(string(text), `"cniVersion":"1.0.0"`, `"cniVersion":"9.9.9"`)), 0o600))
			mend()
			if repair {
				h.attach("bot")
			}
			h.detach("bot")
			h.isClean()
		}
	}
}

func TestAPluginThatIsGone(t *testing.T) {
	h := newHost(t, nil)
	dir := h.plugins()
	port := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp"}
	h.chain("1.0.0", "portmap")
	address := h.attach("bot", port).Addresses[0]
	portmap := filepath.Join(dir, "portmap")
	h.must(os.Rename(portmap, portmap+".gone"))
	h.warns("bot", fmt.Sprintf("address %s, ", address))
	if l := h.left(); l.Workspace != "bot" || l.Set != "bots" || !strings.Contains(l.What, "address "+address) || !strings.Contains(l.What, fmt.Sprintf("port %d/tcp", port.Host)) ||
		!strings.Contains(l.Blocked, `CNI plugin "portmap" is in none of `) {
		t.Errorf("left: %+v", l)
	}
	h.detach("bot") // what is detached is detached
	h.must(os.Rename(portmap+".gone", portmap))
	if l := h.left(); l.Blocked != "" {
		t.Errorf("blocked: %s", l.Blocked)
	}
	h.cleaned("bot")
}

func TestAPluginThatTheConfigurationDoesNotNameAnyMore(t *testing.T) {
	h := newHost(t, nil)
	dir := h.plugins()
	port := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp"}
	h.chain("1.0.0", "portmap")
	h.attach("bot", port)
	portmap := filepath.Join(dir, "portmap")
	h.must(os.Rename(portmap, portmap+".gone"))
	h.chain("1.0.0")
	h.attach("bot") // its old rules may be left
	again := h.attachment("bot").Addresses[0]
	h.must(os.Rename(portmap+".gone", portmap))
	h.must(h.CleanNetwork(t.Context(), plan.CleanNetwork{Workspace: "bot"}))
	if rules := h.run("iptables-save", "-t", "nat"); strings.Contains(rules, h.Namespace+".bot") {
		t.Errorf("rules of the port are left:\n%s", rules)
	}
	h.serve("bot", 80)
	h.hears("bot", again+":80")
	h.detach("bot")
	h.isClean()
}

func TestAPluginThatFails(t *testing.T) {
	h := newHost(t, nil)
	dir := h.plugins()
	h.chain("1.0.0")
	h.attach("bot")
	bridge := filepath.Join(dir, "bridge")
	h.must(os.Remove(bridge))
	h.must(os.WriteFile(bridge, []byte("#!/bin/sh\necho no licence >&2\nexit 3\n"), 0o755))
	h.warns("bot", "no licence")
	if l := h.left(); !strings.Contains(l.Blocked, "no licence") {
		t.Errorf("nothing has changed, and it is tried again: %+v", l)
	}
	// The same network cannot be given while the address is taken.
	if err := h.AttachNetwork(t.Context(), attach("bot")); err == nil || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("error: %v", err)
	}
	h.must(os.Remove(bridge))
	h.must(os.Symlink("/usr/lib/cni/bridge", bridge))
	if l := h.left(); l.Blocked != "" {
		t.Errorf("blocked: %s", l.Blocked)
	}
	h.attach("bot") // cleans up first
	h.detach("bot")
	h.cleaned("bot")
}

// A plugin that hangs, and what it started, which has its output.
func TestAPluginThatHangs(t *testing.T) {
	h := newHost(t, func(c *cni.Config) { c.PluginTimeout = time.Second })
	dir := h.plugins()
	h.chain("1.0.0")
	h.attach("bot")
	bridge := filepath.Join(dir, "bridge")
	h.must(os.Remove(bridge))
	h.must(os.WriteFile(bridge, []byte("#!/bin/sh\nsleep 987654 &\nwait\n"), 0o755))
	h.warns("bot", "no answer within 1s")
	if err := h.AttachNetwork(t.Context(), attach("other")); err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("error: %v", err)
	}
	for _, p := range strings.Fields(h.run("ps", "-eo", "args")) {
		if p == "987654" {
			t.Error("what the plugin started still runs")
		}
	}
	h.must(os.Remove(bridge))
	h.must(os.Symlink("/usr/lib/cni/bridge", bridge))
	h.detach("other")
	h.cleaned("bot")
}

func TestALeftoverOfALostRecord(t *testing.T) {
	h := newHost(t, nil)
	h.plugins()
	h.chain("1.0.0")
	h.attach("bot")
	h.must(os.Truncate(h.recordFile("bot"), 0))
	dirs := h.BinDirs
	h.BinDirs = []string{"/nonexistent"}
	h.warns("bot", "/nonexistent")
	h.BinDirs = dirs
	h.cleaned("bot")
}
