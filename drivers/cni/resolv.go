package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// The files of the host that name its nameservers. The second one is that of
// systemd-resolved, for a host whose own file names only the stub on its loopback.
const (
	hostResolv    = "/etc/resolv.conf"
	systemdResolv = "/run/systemd/resolve/resolv.conf"
)

// resolver is the resolv.conf that workspaces get, before what each of them cannot
// use is left out.
type resolver struct {
	file string // that it was read from
	text string
}

// hostResolver reads the host's resolv.conf, or that of systemd-resolved if the host's
// own has only the loopback. The file need not exist.
func (d *Driver) hostResolver() (resolver, error) {
	host, err := readResolv(d.ResolvFile)
	if err != nil || d.ResolvFile != hostResolv {
		return host, err
	}
	return host.orSystemds(systemdResolv), nil
}

func readResolv(file string) (resolver, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return resolver{file, string(text)}, err
}

// orSystemds is the resolver of systemd if that has nameservers and the host's own has
// none that can be used.
func (r resolver) orSystemds(file string) resolver {
	if _, servers, _ := r.usable(true); servers > 0 {
		return r
	}
	if better, err := readResolv(file); err == nil {
		if _, servers, _ := better.usable(true); servers > 0 {
			return better
		}
	}
	return r
}

// usable are the lines that a container can use, how many nameservers they have, and
// why others are left out. Six is whether the container has IPv6.
func (r resolver) usable(six bool) (lines []string, servers int, without []string) {
	for line := range strings.Lines(r.text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "nameserver" {
			if why := unusable(fields[1], six); why != "" {
				without = append(without, fmt.Sprintf("nameserver %s: %s", fields[1], why))
				continue
			}
			servers++
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines, servers, without
}

// unusable is why a container cannot use a nameserver, "" when it can.
func unusable(server string, six bool) string {
	ip, err := netip.ParseAddr(server)
	switch {
	case err != nil:
		return "not an address"
	case ip.Unmap().IsLoopback(), ip.Unmap().IsUnspecified():
		return "on the loopback of the host"
	case ip.Zone() != "", ip.Is6() && ip.IsLinkLocalUnicast():
		return "on a link of the host"
	case ip.Unmap().Is6() && !six:
		return "workspaces have no IPv6"
	}
	return ""
}

// forContainer is the text of the file of a container.
func (r resolver) forContainer(six bool) string {
	lines, servers, without := r.usable(six)
	for _, why := range without {
		lines = append(lines, "# left out: "+why)
	}
	if servers == 0 {
		lines = append(lines, "# No nameserver of the host can be reached from a container.")
	}
	return strings.Join(lines, "\n") + "\n"
}

// says are the lines that count, for comparing files: an older carrel left out less,
// and wrote no comments.
func (r resolver) says(six bool) (words []string) {
	lines, _, _ := r.usable(six)
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != ';' {
			words = append(words, line)
		}
	}
	return words
}

// NameServers says which nameservers of the host workspaces cannot use, and whether
// none is left.
func (d *Driver) NameServers() []string {
	host, err := d.hostResolver()
	if err != nil {
		return []string{oneLine(err)}
	}
	_, servers, without := host.usable(!d.IPv4Only())
	if servers == 0 {
		return []string{fmt.Sprintf("%s has no nameserver that workspaces can reach, so they find no names of other hosts (add one there, or name another file with --resolv-conf)", host.file)}
	}
	for i, why := range without {
		without[i] = "left out for workspaces: " + why + " (" + host.file + ")"
	}
	return without
}

// resolver is what a workspace gets: what its ADD returned, or else the host's.
func (r *record) resolver(host resolver) (resolver, error) {
	var result struct{ DNS types.DNS }
	if err := json.Unmarshal(r.Result, &result); err != nil {
		return resolver{}, err
	}
	if text := resolvOf(result.DNS); text != "" {
		return resolver{"", text}, nil
	}
	return host, nil
}

// hasIPv6 reports whether the workspace has an IPv6 address.
func (r *record) hasIPv6() bool {
	return slices.ContainsFunc(r.Addresses, func(a string) bool { return strings.Contains(a, ":") })
}

func (d *Driver) resolvFile(workspace string) string {
	return filepath.Join(d.RunDir, resolvDir, workspace)
}

// writeResolv writes the resolv.conf of a workspace in place.
func (d *Driver) writeResolv(r *record) error {
	host, err := d.hostResolver()
	if err != nil {
		return err
	}
	own, err := r.resolver(host)
	if err != nil {
		return err
	}
	text := own.forContainer(r.hasIPv6())
	if own.file == "" {
		text = own.text // the network knows what it is reached by
	}
	return overwrite(d.resolvFile(r.Workspace), text)
}

// stale is that the resolv.conf of a workspace does not say what it would if it was
// written now; "" when it does, or when it does not exist.
func (d *Driver) stale(r *record, host resolver) string {
	written, err := os.ReadFile(d.resolvFile(r.Workspace))
	own, unreadable := r.resolver(host)
	if err != nil || unreadable != nil || own.file == "" {
		return ""
	}
	six := r.hasIPv6()
	if slices.Equal(own.says(six), resolver{text: string(written)}.says(six)) {
		return ""
	}
	return own.file + " of the host has changed"
}

// resolvOf is a resolv.conf with the nameservers that an ADD returned, "" when it
// returned none.
func resolvOf(dns types.DNS) string {
	if len(dns.Nameservers) == 0 {
		return ""
	}
	var text strings.Builder
	if dns.Domain != "" {
		fmt.Fprintf(&text, "domain %s\n", dns.Domain)
	}
	if len(dns.Search) > 0 {
		fmt.Fprintf(&text, "search %s\n", strings.Join(dns.Search, " "))
	}
	for _, server := range dns.Nameservers {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	if len(dns.Options) > 0 {
		fmt.Fprintf(&text, "options %s\n", strings.Join(dns.Options, " "))
	}
	return text.String()
}
