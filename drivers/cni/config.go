package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
)

// network is the configuration that workspaces are attached with.
type network struct {
	list   *libcni.NetworkConfigList
	file   string       // that it was read from; "" is the built-in bridge
	subnet netip.Prefix // of the built-in bridge
}

// Description says in one line which configuration is used.
func (d *Driver) Description() string {
	n, err := d.network(false)
	if err != nil {
		return oneLine(err)
	}
	if n.file != "" {
		return fmt.Sprintf("network %s of %s", n.list.Name, n.file)
	}
	return fmt.Sprintf("built-in bridge %s, %s, IPv4 only: %s has no configuration", n.list.Name, n.subnet, d.ConfDir)
}

// IPv4Only reports whether it is known that workspaces get no IPv6 addresses: not
// from the built-in bridge, and not from a configuration with IPv4 ranges only.
func (d *Driver) IPv4Only() bool {
	n, err := d.network(false)
	if err != nil || n.file == "" {
		return err == nil
	}
	for _, p := range n.list.Plugins {
		if p.Network.IPAM.Type == "" {
			continue
		}
		var config struct {
			IPAM struct {
				Subnet string
				Ranges [][]struct{ Subnet string }
			}
		}
		if err := json.Unmarshal(p.Bytes, &config); err != nil {
			return false
		}
		subnets := config.IPAM.Subnet
		for _, set := range config.IPAM.Ranges {
			for _, r := range set {
				subnets += r.Subnet
			}
		}
		return p.Network.IPAM.Type == "host-local" && subnets != "" && !strings.Contains(subnets, ":")
	}
	return false
}

// network is the host's configuration, or the built-in one when the host has none.
// Of several files the first by name counts, as for containerd and the kubelet.
// Libcni reads it, because go-cni tells neither the file nor what is wrong in it.
func (d *Driver) network(ports bool) (*network, error) {
	files, err := libcni.ConfFiles(d.ConfDir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return d.builtIn(ports)
	}
	slices.Sort(files)
	list, err := load(files[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w (correct it or move it away: without any configuration in that folder carrel uses a bridge of its own)", files[0], err)
	}
	if ports && !publishes(list) {
		return nil, fmt.Errorf("network %s of %s cannot publish ports (add the portmap plugin with its capability portMappings to it)", list.Name, files[0])
	}
	return &network{list: list, file: files[0]}, nil
}

// Problem is why no workspace can be attached, or none with ports: the configuration
// cannot be read, or a plugin is missing. "" when nothing is known to be wrong.
func (d *Driver) Problem(ports bool) string {
	n, err := d.network(ports)
	if err == nil {
		err = d.hasPlugins(n.list)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// load reads a list of plugins, or a single plugin as older files have it.
func load(file string) (*libcni.NetworkConfigList, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list *libcni.NetworkConfigList
	if filepath.Ext(file) == ".conflist" {
		list, err = libcni.NetworkConfFromBytes(text)
	} else {
		list, err = loadOne(text)
	}
	if err != nil {
		return nil, err
	}
	if len(list.Plugins) == 0 {
		return nil, fmt.Errorf("it has no plugins")
	}
	if err := utils.ValidateNetworkName(list.Name); err != nil {
		return nil, err
	}
	return list, nil
}

func loadOne(text []byte) (*libcni.NetworkConfigList, error) {
	one, err := libcni.NetworkPluginConfFromBytes(text)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(conf{
		"cniVersion": one.Network.CNIVersion, "name": one.Network.Name, "plugins": []json.RawMessage{text},
	})
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(list)
}

// publishes reports whether a plugin of the list publishes ports. Without one, the
// ports of a workspace would be ignored without an error.
func publishes(list *libcni.NetworkConfigList) bool {
	return slices.ContainsFunc(list.Plugins, func(p *libcni.PluginConfig) bool { return p.Network.Capabilities["portMappings"] })
}

// conf is a piece of a CNI configuration.
type conf map[string]any

// builtIn is a bridge with the addresses of the subnet. It has no plugin that makes
// rules for each container: that takes four times as long as the rest, and the
// bridge has rules for all containers instead.
func (d *Driver) builtIn(ports bool) (*network, error) {
	subnet, err := parseSubnet(d.Subnet)
	if err != nil {
		return nil, err
	}
	name := bridgeName(subnet)
	plugins := []conf{{
		"type": "bridge", "bridge": name, "isGateway": true, "hairpinMode": true,
		"ipam": conf{
			"type":   "host-local",
			"ranges": [][]conf{{{"subnet": subnet.String()}}},
			"routes": []conf{{"dst": "0.0.0.0/0"}},
		},
	}}
	if ports {
		plugins = append(plugins, conf{"type": "portmap", "snat": true, "capabilities": conf{"portMappings": true}})
	}
	// 1.0.0, because the plugins of Debian 12 do not know a newer version.
	text, err := json.Marshal(conf{"cniVersion": "1.0.0", "name": name, "plugins": plugins})
	if err != nil {
		return nil, err
	}
	list, err := libcni.NetworkConfFromBytes(text)
	return &network{list: list, subnet: subnet}, err
}

// longestPrefix is that of the smallest subnet that has an address for a workspace
// beside the gateway's.
const longestPrefix = 30

func parseSubnet(text string) (netip.Prefix, error) {
	subnet, err := netip.ParsePrefix(text)
	if err != nil || !subnet.Addr().Is4() || subnet.Bits() > longestPrefix || subnet.Bits() == 0 {
		return subnet, fmt.Errorf("subnet %q: not an IPv4 network with room for a workspace (give one such as %s with --subnet)", text, defaultSubnet)
	}
	return subnet.Masked(), nil
}

// bridgeName is the name of the bridge of a subnet, and of its network. Each subnet
// has its own.
func bridgeName(subnet netip.Prefix) string {
	if subnet.String() == defaultSubnet {
		return "carrel0"
	}
	sum := sha256.Sum256([]byte(subnet.String()))
	return "carrel" + hex.EncodeToString(sum[:4])
}

// room is how many workspaces the built-in bridge has addresses for: all addresses
// but the network's, the broadcast's and the gateway's.
func (n *network) room() int { return 1<<(32-n.subnet.Bits()) - 3 }
