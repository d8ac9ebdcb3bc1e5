package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"carrel/plan/state"
	"carrel/spec"
)

// TakenPorts are the ports, of those that workspaces want, which something else on
// this host has: a process that listens, or a rule that sends their packets to another
// container. What attachments of this state dir publish is not among them.
func (d *Driver) TakenPorts(ctx context.Context, wanted map[string][]spec.Port) ([]state.TakenPort, error) {
	recorded, err := d.workspaces()
	if err != nil || len(wanted) == 0 {
		return nil, err
	}
	var all []spec.Port
	own := map[string]bool{}
	for _, workspace := range recorded {
		own[d.id(workspace)] = true
	}
	for workspace, ports := range wanted {
		own[d.id(workspace)] = true
		all = append(all, ports...)
	}
	if len(all) == 0 {
		return nil, nil
	}
	rules, err := natRules(ctx)
	if err != nil {
		return nil, err
	}
	var taken []state.TakenPort
	for _, r := range rules {
		if !own[r.id] && slices.ContainsFunc(all, r.port.Meets) {
			taken = append(taken, state.TakenPort{Port: r.port, By: r.by()})
		}
	}
	listening, err := d.listeners(ctx, all)
	return append(taken, listening...), err
}

// listeners are the processes that listen on one of some ports.
func (d *Driver) listeners(ctx context.Context, ports []spec.Port) (taken []state.TakenPort, err error) {
	found, err := sockets()
	if err != nil {
		return nil, err
	}
	for _, s := range found {
		i := slices.IndexFunc(ports, s.port.Meets)
		if i < 0 {
			continue
		}
		// A socket of all IPv6 addresses may be one of IPv4 too: only trying tells.
		var busy *busyError
		if err := free(ctx, ports[i:i+1]); err == nil || !errors.As(err, &busy) && !errors.Is(err, fs.ErrPermission) {
			continue
		}
		by, container := d.holder(s.inode)
		taken = append(taken, state.TakenPort{Port: s.port, By: by, Container: container})
	}
	return taken, nil
}

// socket is one that waits for packets or connections.
type socket struct {
	port  spec.Port
	inode uint64
}

const (
	tcpListens    = 0x0A // the kernel's TCP_LISTEN
	udpNotPeering = 0x07 // the kernel's TCP_CLOSE, which is that of a socket without a peer
)

// sockets are those of the host that wait. A kernel without IPv6 has no files of it.
func sockets() (all []socket, err error) {
	host, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 what is to replace these needs a module of the kernel, and the files need none
	for _, read := range []func() (procfs.NetTCP, error){host.NetTCP, host.NetTCP6} {
		lines, err := read()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, l := range lines {
			if l.St == tcpListens {
				all = append(all, newSocket("tcp", l.LocalAddr, l.LocalPort, l.Inode))
			}
		}
	}
	for _, read := range []func() (procfs.NetUDP, error){host.NetUDP, host.NetUDP6} {
		lines, err := read()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, l := range lines {
			if l.St == udpNotPeering {
				all = append(all, newSocket("udp", l.LocalAddr, l.LocalPort, l.Inode))
			}
		}
	}
	return all, nil
}

func newSocket(protocol string, ip []byte, port, inode uint64) socket {
	p := spec.Port{Host: int(port), Protocol: protocol}
	if address, ok := netip.AddrFromSlice(ip); ok && !address.Unmap().IsUnspecified() {
		p.HostIP = address.Unmap().String()
	}
	return socket{p, inode}
}

// holder says which process has a socket, and in which container of carrel's it is.
// Only root may know.
func (d *Driver) holder(inode uint64) (by, container string) {
	all, err := procfs.AllProcs()
	if err != nil {
		return "a process listens there", ""
	}
	name := fmt.Sprintf("socket:[%d]", inode)
	for _, p := range all {
		targets, err := p.FileDescriptorTargets()
		if err != nil || !slices.Contains(targets, name) {
			continue
		}
		command, err := p.Comm()
		if err != nil {
			continue // it has just ended
		}
		return fmt.Sprintf("process %d (%s) listens there", p.PID, command), d.containerOf(p)
	}
	return "a process listens there", ""
}

// containerOf is the container of carrel's that a process is in, by its cgroup.
func (d *Driver) containerOf(p procfs.Proc) string {
	groups, err := p.Cgroups()
	if err != nil {
		return ""
	}
	for _, g := range groups {
		if path.Base(path.Dir(g.Path)) == d.Namespace {
			return path.Base(g.Path)
		}
	}
	return ""
}

// natRule sends the packets of a port of the host to a container.
type natRule struct {
	port  spec.Port
	chain string
	id    string // by which CNI plugins know the container; "" when they did not make it
}

func (r natRule) by() string {
	switch {
	case r.id != "":
		return fmt.Sprintf("container %s publishes it", r.id)
	case strings.HasPrefix(r.chain, "DOCKER"):
		return "docker publishes it"
	}
	return fmt.Sprintf("chain %s of iptables publishes it", r.chain)
}

// natRules reads the rules of IPv4. A host without iptables has none that count.
func natRules(ctx context.Context) ([]natRule, error) {
	out, err := exec.CommandContext(ctx, "iptables-save", "-t", "nat").Output()
	var refused *exec.ExitError
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.As(err, &refused) && ctx.Err() == nil: // not root: who may not read rules makes none
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("iptables-save: %w", err)
	}
	return parseRules(string(out)), nil
}

// publishes is the rule by which the portmap plugin sends the packets of a container
// to a chain of its own.
var publishesChain = regexp.MustCompile(`^-A CNI-HOSTPORT-DNAT .*id: \\"([^"\\]*)\\"".* -j (\S+)`)

// parseRules finds in the output of iptables-save what publishes ports.
func parseRules(text string) (all []natRule) {
	ids := map[string]string{} // by chain
	for line := range strings.Lines(text) {
		if m := publishesChain.FindStringSubmatch(line); m != nil {
			ids[m[2]] = m[1]
		}
	}
	for line := range strings.Lines(text) {
		if r, ok := parseRule(line); ok {
			r.id = ids[r.chain]
			all = append(all, r)
		}
	}
	return all
}

// parseRule reads a rule that has the target DNAT and one port.
func parseRule(line string) (r natRule, ok bool) {
	words := strings.Fields(line)
	not := false
	for i := 0; i+1 < len(words); i++ {
		value := words[i+1]
		switch words[i] {
		case "-A":
			r.chain = value
		case "-p":
			r.port.Protocol = value
		case "-d":
			if address, whole := strings.CutSuffix(value, "/32"); whole && !not {
				r.port.HostIP = address
			}
		case "--dport":
			r.port.Host, _ = strconv.Atoi(value) // 0, which no port is, for a range
		case "-j":
			ok = value == "DNAT"
		}
		not = words[i] == "!"
	}
	return r, ok && r.port.Host > 0
}
