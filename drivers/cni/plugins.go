package cni

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"carrel/spec"
)

// portMapping is an entry of the CNI convention "portMappings". The type that
// go-cni has for it is encoded with other names (HostPort), which only plugins
// written in Go read as the same.
type portMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

const portMappings = "portMappings"

func mappings(ports []spec.Port) []portMapping {
	var all []portMapping
	for _, p := range ports {
		all = append(all, portMapping{HostPort: p.Host, ContainerPort: p.Container, Protocol: p.Protocol, HostIP: p.HostIP})
	}
	return all
}

// library is go-cni with one configuration list. The list is the only one, so its
// interface is the first with the prefix: eth0. The loopback needs no plugin,
// because pin sets it up.
//
// What plugins write to their standard error goes to that of carrel, and results
// are cached in /var/lib/cni: go-cni has no options for either.
func (d *Driver) library(config []byte) (gocni.CNI, error) {
	return gocni.New(gocni.WithPluginDir(d.BinDirs), gocni.WithInterfacePrefix(interfacePrefix), gocni.WithConfListBytes(config))
}

// options are those of an ADD or DEL that publish the ports of a record.
func (r *record) options() []gocni.NamespaceOpts {
	if len(r.Ports) == 0 {
		return nil
	}
	return []gocni.NamespaceOpts{gocni.WithCapability(portMappings, mappings(r.Ports))}
}

// add runs the ADD of an attachment.
func (d *Driver) add(ctx context.Context, n *network, r *record) (*types100.Result, error) {
	library, err := d.library(r.Config)
	if err != nil {
		return nil, err
	}
	var result *gocni.Result
	err = d.limited(ctx, r.ID, func(ctx context.Context) error {
		result, err = library.Setup(ctx, r.ID, r.Netns, r.options()...)
		return err
	})
	if err != nil {
		return nil, d.explain(n, err)
	}
	return result.Raw()[0], nil // of the only list
}

// del runs the DEL of an attachment with what its ADD was given.
//
// go-cni takes an error that contains "not found" for success, although the
// plugins after that one did not run, and their addresses and interfaces stay.
// The cached result of the ADD shows whether that happened: it is deleted when
// all plugins succeeded. Then, and where the ADD left no result, libcni runs the
// DEL and returns the error.
func (d *Driver) del(ctx context.Context, r *record) error {
	list, err := r.list()
	if err != nil {
		return err
	}
	if !d.isCached(list, r) {
		return d.delList(ctx, list, r.runtime())
	}
	if err := d.delWhole(ctx, list, r); err != nil {
		return err
	}
	if d.isCached(list, r) {
		return d.delList(ctx, list, r.runtime())
	}
	return nil
}

// delWhole runs the DEL of an attachment whose ADD succeeded, through go-cni.
func (d *Driver) delWhole(ctx context.Context, list *libcni.NetworkConfigList, r *record) error {
	if err := d.hasPlugins(list); err != nil {
		return err
	}
	library, err := d.library(r.Config)
	if err != nil {
		return err
	}
	return d.inNetwork(list.Name, d.limited(ctx, r.ID, func(ctx context.Context) error {
		return library.Remove(ctx, r.ID, liveNetns(r.Netns), r.options()...)
	}))
}

// liveNetns is the path of a namespace, "" when the namespace is gone: plugins
// then release what they can without it.
func liveNetns(path string) string {
	if inode(path) == 0 {
		return ""
	}
	return path
}

// isCached reports whether the result of the ADD of a record is cached.
func (d *Driver) isCached(list *libcni.NetworkConfigList, r *record) bool {
	result, err := d.bareLibrary().GetNetworkListCachedResult(list, r.runtime())
	return err == nil && result != nil
}

// bareLibrary is libcni, for what go-cni has no call for: the cache of results, a
// DEL with what was read from that cache, and a DEL that returns each error. It
// has the same cache.
func (d *Driver) bareLibrary() *libcni.CNIConfig {
	return libcni.NewCNIConfig(d.BinDirs, &invoke.DefaultExec{RawExec: &invoke.RawExec{}, PluginDecoder: version.PluginDecoder{}})
}

// runtime is what libcni needs to know of a record.
func (r *record) runtime() *libcni.RuntimeConf {
	c := &libcni.RuntimeConf{ContainerID: r.ID, NetNS: r.Netns, IfName: r.Interface}
	if len(r.Ports) > 0 {
		c.CapabilityArgs = map[string]any{portMappings: mappings(r.Ports)}
	}
	return c
}

// delList runs a DEL through libcni.
func (d *Driver) delList(ctx context.Context, list *libcni.NetworkConfigList, c *libcni.RuntimeConf) error {
	if err := d.hasPlugins(list); err != nil {
		return err
	}
	c.NetNS = liveNetns(c.NetNS)
	return d.inNetwork(list.Name, d.limited(ctx, c.ContainerID, func(ctx context.Context) error {
		return d.bareLibrary().DelNetworkList(ctx, list, c)
	}))
}

// delUnknown runs the DEL of an attachment whose record is lost or damaged. It
// takes what the ADD was given from the cache of results, or else today's
// configuration.
func (d *Driver) delUnknown(ctx context.Context, workspace string) error {
	cached, err := d.bareLibrary().GetCachedAttachments(d.id(workspace))
	if err != nil {
		return err
	}
	var last *leftError
	for _, c := range cached {
		r := &record{Workspace: workspace, ID: c.ContainerID, Interface: c.IfName, Netns: c.NetNS, Network: c.Network, Config: c.Config, Ports: anyPort}
		if _, err := r.list(); err != nil {
			continue // damaged too
		}
		rest, err := d.undo(ctx, r)
		if err == nil {
			continue
		}
		if last != nil {
			if err := d.setAside(last.rest, last.err); err != nil {
				return err
			}
		}
		last = &leftError{rest, err}
	}
	if last != nil {
		return last
	}
	if len(cached) > 0 {
		return nil
	}
	return d.delAnything(ctx, workspace)
}

// anyPort stands for the ports that an unknown attachment published: the portmap
// plugin removes all rules of a container, but only when it is given a port.
var anyPort = []spec.Port{{Host: 1, Container: 1, Protocol: "tcp"}}

// delAnything runs the DEL of a workspace with today's configuration.
func (d *Driver) delAnything(ctx context.Context, workspace string) error {
	r := &record{Workspace: workspace, ID: d.id(workspace), Netns: d.netns(workspace), Interface: interfaceName, Ports: anyPort}
	n, err := d.today(true)
	if err == nil {
		r.Network, r.Config = n.list.Name, n.list.Bytes
		err = d.delList(ctx, n.list, r.runtime())
	}
	if err != nil {
		return &leftError{r, err}
	}
	return nil
}

// hasPlugins checks that every plugin of a list is installed, before the first
// one runs.
func (d *Driver) hasPlugins(list *libcni.NetworkConfigList) error {
	for _, p := range list.Plugins {
		for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if name == "" {
				continue
			}
			if _, err := invoke.FindInPath(name, d.BinDirs); err != nil {
				return fmt.Errorf("CNI plugin %q is in none of %s (install it, on Debian with apt-get install containernetworking-plugins)",
					name, strings.Join(d.BinDirs, ", "))
			}
		}
	}
	return nil
}

// explain makes the error of an ADD readable. A full subnet is recognised by the text
// of the host-local plugin: its error has no code of its own.
func (d *Driver) explain(n *network, err error) error {
	if !strings.Contains(err.Error(), "no IP addresses available") {
		return d.inNetwork(n.list.Name, err)
	}
	if n.file != "" {
		return fmt.Errorf("network %s has no address left (enlarge the range in %s, or detach workspaces)", n.list.Name, n.file)
	}
	return fmt.Errorf("subnet %s is full: all %d addresses for workspaces are taken (detach some, or give a larger subnet with --subnet)", n.subnet, n.room())
}

// inNetwork puts the error of a plugin into one line. A plugin that was stopped,
// because its time was over or the context ended, has an error that says so.
func (d *Driver) inNetwork(name string, err error) error {
	var late *lateError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &late):
		return fmt.Errorf("network %s: %w", name, err)
	}
	return fmt.Errorf("network %s: %w", name, &pluginError{text: oneLine(err), err: err})
}

// pluginError is an error that a plugin returned.
type pluginError struct {
	text string
	err  error
}

func (e *pluginError) Error() string { return e.text }
func (e *pluginError) Unwrap() error { return e.err }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
