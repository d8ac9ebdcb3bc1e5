package cni_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"

	"carrel/drivers/cni"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

const (
	// child is the variable with the Config of a driver. It tells the test binary
	// to attach with that driver, and to be killed meanwhile.
	child = "CARREL_TEST_ATTACH"

	// leases is where host-local keeps the addresses of each network.
	leases = "/var/lib/cni/networks"

	// results is where libcni caches the results of each ADD.
	results = "/var/lib/cni/results"
)

func TestMain(m *testing.M) {
	if os.Getenv("CNI_COMMAND") != "" {
		if err := beAPlugin(); err != nil {
			fmt.Printf(`{"cniVersion":"1.0.0","code":100,"msg":%q}`, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if text := os.Getenv(child); text != "" {
		var c cni.Config
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			panic(err)
		}
		fmt.Println(cni.New(c).AttachNetwork(context.Background(), attach("bot")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// beAPlugin is a CNI plugin at the end of a chain. Its configuration says what it
// does to the result.
func beAPlugin() error {
	var given struct {
		Do         string
		PrevResult map[string]any
	}
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(text, &given)
	}
	if err != nil {
		return err
	}
	if os.Getenv("CNI_COMMAND") != "ADD" {
		file, fails := strings.CutPrefix(given.Do, "fail DEL while there is ")
		if _, err := os.Stat(file); fails && err == nil {
			return errors.New("endpoint not found")
		}
		return nil
	}
	if pipe, ok := strings.CutPrefix(given.Do, "hang "); ok {
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for who reads it
		if err != nil {
			return err
		}
		defer f.Close()
		return syscall.Pause()
	}
	switch given.Do {
	case "kill":
		return syscall.Kill(os.Getppid(), syscall.SIGKILL)
	case "drop addresses":
		delete(given.PrevResult, "ips")
	case "name servers":
		given.PrevResult["dns"] = map[string]any{"nameservers": []string{"192.0.2.53"}, "search": []string{"lab.example"}}
	case "fail":
		return errors.New("no\nlink to the switch")
	}
	return json.NewEncoder(os.Stdout).Encode(given.PrevResult)
}

// host is a driver with its own folders, subnet and bridge.
type host struct {
	*cni.Driver
	t testing.TB
}

var subnets atomic.Int32

func newHost(t testing.TB, change func(c *cni.Config)) *host {
	t.Helper()
	dir := t.TempDir()
	number := subnets.Add(1)
	c := cni.Config{
		ConfDir: filepath.Join(dir, "net.d"), RunDir: filepath.Join(dir, "run"), StateDir: filepath.Join(dir, "state"),
		Namespace: fmt.Sprintf("carrel-test-%d-%d", os.Getpid(), number),
		Subnet:    fmt.Sprintf("10.%d.%d.0/24", 64+os.Getpid()%128, number),
	}
	if change != nil {
		change(&c)
	}
	h := &host{cni.New(c), t}
	t.Cleanup(h.clean)
	return h
}

// clean detaches all workspaces and removes what a host keeps then, each thing by
// its exact name.
func (h *host) clean() {
	for _, a := range h.attachments() {
		h.must(h.DetachNetwork(context.Background(), plan.DetachNetwork{Workspace: a.Workspace}))
	}
	if err := unix.Unmount(filepath.Join(h.RunDir, "netns"), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		h.t.Error(err)
	}
	if h.hasLink(h.Bridge()) {
		h.run("ip", "link", "delete", h.Bridge())
	}
	tables, err := iptables.New(iptables.Timeout(30))
	h.must(err)
	h.EachRule(func(table, chain string, args []string) { h.must(tables.DeleteIfExists(table, chain, args...)) })
	h.must(h.closePorts(tables))
	h.must(os.RemoveAll(filepath.Join(leases, h.Bridge())))
}

// closePorts removes the port rules of this host that a failed test may have left.
func (h *host) closePorts(tables *iptables.IPTables) error {
	const all = "CNI-HOSTPORT-DNAT"
	if there, err := tables.ChainExists("nat", all); !there || err != nil {
		return err
	}
	rules, err := tables.List("nat", all)
	for _, r := range rules {
		before, rest, _ := strings.Cut(strings.TrimPrefix(r, "-A "+all), `--comment "`)
		comment, after, ours := strings.Cut(rest, `" -m multiport`)
		if !ours || !strings.Contains(comment, h.Namespace+".") {
			continue
		}
		words := append(strings.Fields(before), "--comment", strings.ReplaceAll(comment, `\"`, `"`), "-m", "multiport")
		words = append(words, strings.Fields(after)...)
		if err := errors.Join(tables.Delete("nat", all, words...), tables.ClearAndDeleteChain("nat", words[len(words)-1])); err != nil {
			return err
		}
	}
	return err
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) run(name string, args ...string) string {
	h.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func attach(workspace string, ports ...spec.Port) plan.AttachNetwork {
	return plan.AttachNetwork{Workspace: workspace, Set: "bots", Ports: ports}
}

// attach attaches a workspace, which must work, and returns its attachment.
func (h *host) attach(workspace string, ports ...spec.Port) state.Attachment {
	h.t.Helper()
	h.must(h.AttachNetwork(h.t.Context(), attach(workspace, ports...)))
	a := h.attachment(workspace)
	if a.Broken != "" || a.Netns == 0 || len(a.Addresses) != 1 || a.Set != "bots" || !slices.Equal(a.Ports, ports) {
		h.t.Fatalf("attachment of %s: %+v", workspace, a)
	}
	if inside := cni.AddressesIn(h.netns(workspace), cni.InterfaceName); !slices.Contains(inside, a.Addresses[0]) {
		h.t.Fatalf("%s has %v in its namespace, and %v in its record", workspace, inside, a.Addresses)
	}
	return a
}

func (h *host) detach(workspace string) {
	h.t.Helper()
	h.must(h.DetachNetwork(h.t.Context(), plan.DetachNetwork{Workspace: workspace}))
}

func (h *host) attachments() []state.Attachment {
	h.t.Helper()
	all, err := h.Attachments(context.Background())
	h.must(err)
	return all
}

func (h *host) attachment(workspace string) state.Attachment {
	h.t.Helper()
	all := h.attachments()
	i := slices.IndexFunc(all, func(a state.Attachment) bool { return a.Workspace == workspace })
	if i < 0 {
		h.t.Fatalf("%s has no attachment: %+v", workspace, all)
	}
	return all[i]
}

func (h *host) netns(workspace string) string { return filepath.Join(h.RunDir, "netns", workspace) }
func (h *host) recordFile(workspace string) string {
	return filepath.Join(h.StateDir, "networks", workspace+".json")
}

// result is the file with the cached result of a workspace's ADD.
func (h *host) result(workspace string) string {
	return filepath.Join(results, h.Bridge()+"-"+h.Namespace+"."+workspace+"-"+cni.InterfaceName)
}

func (h *host) hasLink(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// veth is the host's interface of a workspace.
func (h *host) veth(workspace string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.recordFile(workspace))
	h.must(err)
	var r struct{ Links []struct{ Name string } }
	h.must(json.Unmarshal(text, &r))
	for _, l := range r.Links {
		if l.Name != h.Bridge() {
			return l.Name
		}
	}
	h.t.Fatalf("%s has no interface on the host: %s", workspace, text)
	return ""
}

// traces are all things of this host that an attach makes and a detach removes:
// interfaces, rules, addresses, cached results, files.
func (h *host) traces() []string {
	h.t.Helper()
	var all []string
	for _, pattern := range []string{filepath.Join("/sys/class/net", h.Bridge(), "brif/*"), results + "/" + h.Bridge() + "-*"} {
		found, err := filepath.Glob(pattern)
		h.must(err)
		all = append(all, found...)
	}
	subnet, _, _ := strings.Cut(h.Subnet, "0/")
	static := 0
	for line := range strings.Lines(h.run("iptables-save")) {
		if strings.Contains(line, h.Bridge()) || strings.Contains(line, subnet) || strings.Contains(line, h.Namespace) {
			all = append(all, line)
			if strings.Contains(line, "--comment carrel ") {
				static++
				all = all[:len(all)-1]
			}
		}
	}
	if static != 0 && static != 3 {
		h.t.Errorf("%d static rules, not 3", static)
	}
	for _, dir := range []string{filepath.Join(leases, h.Bridge()), h.StateDir, h.RunDir} {
		_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			kept := []string{"lock", "last_reserved_ip.0", "owner"}
			if err == nil && !e.IsDir() && !slices.Contains(kept, e.Name()) {
				all = append(all, path)
			}
			return nil
		})
	}
	return all
}

// isClean fails the test when something is left.
func (h *host) isClean() {
	h.t.Helper()
	if left := h.traces(); len(left) > 0 {
		h.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// configure gives the host a CNI configuration: that of the built-in bridge, with
// the test binary as a plugin at the end.
func (h *host) configure(do string) {
	h.t.Helper()
	bin := filepath.Join(h.t.TempDir(), "bin")
	h.must(os.MkdirAll(bin, 0o755))
	self, err := os.Executable()
	h.must(err)
	h.must(os.Symlink(self, filepath.Join(bin, "misbehave")))
	h.BinDirs = append(h.BinDirs, bin)
	h.writeConf("10-test.conflist", fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [
		{"type": "bridge", "bridge": %q, "isGateway": true,
		 "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
		{"type": "misbehave", "do": %q}]}`, h.Bridge(), h.Bridge(), h.Subnet, do))
}

func (h *host) writeConf(name, text string) {
	h.t.Helper()
	h.must(os.MkdirAll(h.ConfDir, 0o755))
	h.must(os.WriteFile(filepath.Join(h.ConfDir, name), []byte(text), 0o644))
}

// inside runs fn in the namespace of a workspace.
func (h *host) inside(workspace string, fn func() error) error {
	return cni.InNetns(h.netns(workspace), fn)
}

// serve answers with the name of the workspace on a port inside its namespace.
func (h *host) serve(workspace string, port int) {
	h.t.Helper()
	var l net.Listener
	h.must(h.inside(workspace, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	}))
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, workspace)
			c.Close()
		}
	}()
}
