package cni

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"carrel/spec"
)

// pluginTimeout bounds one ADD or DEL: a plugin may wait for a server.
const pluginTimeout = time.Minute

// client runs plugins. Its cache of results, which it gives to plugins at a DEL,
// is beside the records instead of in a folder that others use too.
func (d *Driver) client() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(d.BinDirs, d.networks(), &invoke.DefaultExec{
		RawExec:       &invoke.RawExec{}, // what plugins log beside their answer is dropped
		PluginDecoder: version.PluginDecoder{},
	})
}

// portMapping is the CNI convention "portMappings".
type portMapping struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

func mappings(ports []spec.Port) map[string]any {
	if len(ports) == 0 {
		return nil
	}
	var all []portMapping
	for _, p := range ports {
		all = append(all, portMapping{HostPort: p.Host, ContainerPort: p.Container, Protocol: p.Protocol, HostIP: p.HostIP})
	}
	return map[string]any{"portMappings": all}
}

func (r *record) runtime() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: r.ID, NetNS: r.Netns, IfName: r.Interface, CapabilityArgs: mappings(r.Ports)}
}

// add runs the ADD of an attachment.
func (d *Driver) add(ctx context.Context, n *network, r *record) (*types100.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	found, err := d.client().AddNetworkList(ctx, n.list, r.runtime())
	if err != nil {
		return nil, explain(ctx, n, err)
	}
	return types100.NewResultFromResult(found)
}

// del runs the DEL of an attachment with what its ADD was given.
func (d *Driver) del(ctx context.Context, r *record) error {
	list, err := r.list()
	if err != nil {
		return err
	}
	return d.delList(ctx, list, r.runtime())
}

func (d *Driver) delList(ctx context.Context, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) error {
	if err := d.hasPlugins(list); err != nil {
		return err
	}
	if inode(rt.NetNS) == 0 {
		rt.NetNS = "" // plugins give back what they can without it
	}
	ctx, cancel := context.WithTimeout(ctx, pluginTimeout)
	defer cancel()
	if err := d.client().DelNetworkList(ctx, list, rt); err != nil {
		return fmt.Errorf("network %s: %w", list.Name, shorten(ctx, err))
	}
	return nil
}

// delUnknown runs the DEL of an attachment whose record is lost or damaged: with
// what the cache of results has, or else with today's configuration.
func (d *Driver) delUnknown(ctx context.Context, workspace string) error {
	cached, err := d.client().GetCachedAttachments(d.id(workspace))
	if err != nil {
		return err
	}
	for _, c := range cached {
		list, err := libcni.NetworkConfFromBytes(c.Config)
		if err != nil {
			continue // damaged too
		}
		rt := &libcni.RuntimeConf{ContainerID: c.ContainerID, NetNS: c.NetNS, IfName: c.IfName, CapabilityArgs: c.CapabilityArgs}
		if err := d.delList(ctx, list, rt); err != nil {
			return err
		}
	}
	if len(cached) > 0 {
		return nil
	}
	n, err := d.network(false)
	if err != nil {
		return err
	}
	if n.file == "" {
		n, err = d.builtIn(true)
	}
	if err != nil {
		return err
	}
	// The portmap plugin takes back all rules of a container, but only when it
	// is told of a port, whichever.
	lost := []spec.Port{{Host: 1, Container: 1, Protocol: "tcp"}}
	return d.delList(ctx, n.list, (&record{
		ID: d.id(workspace), Netns: d.netns(workspace), Interface: interfaceName, Ports: lost,
	}).runtime())
}

// hasPlugins looks for every plugin of a list before the first one runs.
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

// explain gives an error of an ADD the words of a person. The words of the
// host-local plugin are all there is to know a full subnet by: its error has no
// code of its own.
func explain(ctx context.Context, n *network, err error) error {
	if !strings.Contains(err.Error(), "no IP addresses available") {
		return fmt.Errorf("network %s: %w", n.list.Name, shorten(ctx, err))
	}
	if n.file != "" {
		return fmt.Errorf("network %s has no address left (enlarge the range in %s, or detach workspaces)", n.list.Name, n.file)
	}
	return fmt.Errorf("subnet %s is full: all %d addresses for workspaces are taken (detach some, or give a larger subnet with --subnet)", n.subnet, n.room())
}

// shorten brings the words of plugins into one line, and tells a plugin that
// was stopped from one that failed.
func shorten(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &pluginError{words: fmt.Sprintf("no answer within %s", pluginTimeout), err: err}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &pluginError{words: oneLine(err), err: err}
}

// pluginError is the refusal of a plugin.
type pluginError struct {
	words string
	err   error
}

func (e *pluginError) Error() string { return e.words }
func (e *pluginError) Unwrap() error { return e.err }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
