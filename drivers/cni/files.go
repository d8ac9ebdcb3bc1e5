package cni

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeFiles writes the files that the containers of an attachment mount:
// resolv.conf and hosts.
func (d *Driver) writeFiles(r *record) error {
	if err := d.writeResolv(r); err != nil {
		return err
	}
	return d.locked(func() error { return d.addHost(r) })
}

// missingFile says which of the files of writeFiles is gone: a container that
// mounts it could not start. It is "" when none is.
func (d *Driver) missingFile(r *record) string {
	for _, path := range []string{d.resolvFile(r.Workspace), filepath.Join(d.RunDir, hostsDir, r.Set)} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return path + " is gone"
		}
	}
	return ""
}

// removeFiles undoes writeFiles. The run dir must be this driver's.
func (d *Driver) removeFiles(workspace string) error {
	if err := ifThere(os.Remove(d.resolvFile(workspace))); err != nil {
		return err
	}
	return d.locked(func() error { return d.removeHost(workspace, "") })
}

// addHost adds a workspace to the hosts file of its set, and removes it from those
// of other sets.
func (d *Driver) addHost(r *record) error {
	if err := d.removeHost(r.Workspace, r.Set); err != nil {
		return err
	}
	entries, err := d.hosts(r.Set)
	if err != nil {
		return err
	}
	entries[r.Workspace] = r.Addresses
	return overwrite(filepath.Join(d.RunDir, hostsDir, r.Set), formatHosts(r.Set, entries))
}

// hosts are the entries of the hosts file of a set. Those of a file that does not
// exist, or that a crash or a full disk left without its end, come from the
// records.
func (d *Driver) hosts(set string) (map[string][]string, error) {
	text, err := os.ReadFile(filepath.Join(d.RunDir, hostsDir, set))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.HasSuffix(string(text), "\n") {
		return d.recorded(set)
	}
	return parseHosts(string(text)), err
}

// removeHost removes a workspace from all hosts files but that of one set. A file
// without workspaces is deleted: no container has it mounted.
func (d *Driver) removeHost(workspace, except string) error {
	sets, err := names(filepath.Join(d.RunDir, hostsDir), "")
	if err != nil {
		return err
	}
	for _, set := range sets {
		path := filepath.Join(d.RunDir, hostsDir, set)
		entries, err := d.hosts(set)
		if err != nil {
			return err
		}
		if _, found := entries[workspace]; set == except || !found && len(entries) > 0 {
			continue
		}
		delete(entries, workspace)
		if len(entries) == 0 {
			err = os.Remove(path)
		} else {
			err = overwrite(path, formatHosts(set, entries))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recorded are the addresses of the attached workspaces of a set, by their records.
func (d *Driver) recorded(set string) (map[string][]string, error) {
	entries := map[string][]string{}
	workspaces, err := d.workspaces()
	for _, workspace := range workspaces {
		r, err := d.read(workspace)
		if err == nil && r != nil && r.Set == set && r.Result != nil && inode(r.Netns) != 0 {
			entries[workspace] = r.Addresses
		}
	}
	return entries, err
}

// formatHosts is the text of a hosts file: the lines that every host has, then one
// for each address of each workspace.
func formatHosts(set string, entries map[string][]string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# The workspaces of set %s. carrel writes this file.\n", set)
	text.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		for _, address := range entries[name] {
			fmt.Fprintf(&text, "%s\t%s\n", address, name)
		}
	}
	return text.String()
}

// parseHosts reads the lines of workspaces that formatHosts wrote.
func parseHosts(text string) map[string][]string {
	entries := map[string][]string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		if ip, err := netip.ParseAddr(fields[0]); err == nil && !ip.IsLoopback() {
			entries[fields[1]] = append(entries[fields[1]], fields[0])
		}
	}
	return entries
}

// overwrite writes a file in place, not by a rename: containers have this file
// mounted, and would not see another one that takes its name.
func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if old, err := io.ReadAll(f); err == nil && len(old) > 0 && bytes.Equal(old, []byte(text)) {
		return nil
	}
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Truncate(int64(len(text))), f.Chmod(0o644))
}
