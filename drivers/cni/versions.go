package cni

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
)

// versionTimeout limits asking a plugin for its versions.
const versionTimeout = 5 * time.Second

// understood checks that the plugins know the version of a configuration, before it
// is used: with a version that they do not know, neither ADD nor DEL is possible. A
// configuration is checked once. A plugin that does not say its versions passes.
func (d *Driver) understood(ctx context.Context, n *network) error {
	d.mutex.Lock()
	known := d.checked == string(n.list.Bytes)
	d.mutex.Unlock()
	if known || n.file == "" {
		return nil
	}
	for _, p := range n.list.Plugins {
		for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if name == "" {
				continue
			}
			all := d.versions(ctx, name)
			if len(all) > 0 && !slices.Contains(all, n.list.CNIVersion) {
				return fmt.Errorf("network %s of %s has cniVersion %q, and plugin %q of this host knows %s (write one of these)",
					n.list.Name, n.file, n.list.CNIVersion, name, strings.Join(all, ", "))
			}
		}
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.checked = string(n.list.Bytes)
	return nil
}

// versions are those that a plugin knows, nil when it does not say.
func (d *Driver) versions(ctx context.Context, plugin string) []string {
	path, err := invoke.FindInPath(plugin, d.BinDirs)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = append(os.Environ(), "CNI_COMMAND=VERSION", "CNI_NETNS=dummy", "CNI_IFNAME=dummy", "CNI_PATH=dummy")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion":%q}`, version.Current()))
	cmd.WaitDelay = killAgain
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	info, err := (&version.PluginDecoder{}).Decode(out)
	if err != nil {
		return nil
	}
	return info.SupportedVersions()
}
