package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/containernetworking/cni/libcni"
)

// undo runs the DEL of a record: as its ADD was given, or else, when that cannot
// be, as the host's configuration of the same network says now. Somebody may have
// mended there what makes the first impossible, such as a version that the plugins
// do not know, or a plugin that is not installed any more.
//
// With the error it returns what may be left: the record, or a part of it.
func (d *Driver) undo(ctx context.Context, r *record) (rest *record, err error) {
	err = d.del(ctx, r)
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	now := d.mended(r)
	if now == nil {
		return r, err
	}
	if again := d.delList(ctx, now, r.runtime()); again != nil {
		return r, again
	}
	if rest = r.without(now); rest == nil {
		return nil, nil
	}
	return rest, err
}

// mended is what the host's configuration says now of the network of a record, nil
// when it says nothing or what the ADD was given. A part of a record has the plugins
// that the configuration does not have.
func (d *Driver) mended(r *record) *libcni.NetworkConfigList {
	n, err := d.today(len(r.Ports) > 0)
	if err != nil || r.Part || r.Network != "" && n.list.Name != r.Network || bytes.Equal(n.list.Bytes, r.Config) {
		return nil
	}
	return n.list
}

// today is the host's configuration, or the built-in one when there is none.
func (d *Driver) today(ports bool) (*network, error) {
	n, err := d.network(false) // a DEL needs no plugin for ports that were not published
	if err == nil && n.file == "" && ports {
		return d.builtIn(true)
	}
	return n, err
}

// without is the part of a record that the plugins of another list did not undo, nil
// when there is none.
func (r *record) without(list *libcni.NetworkConfigList) *record {
	was, err := r.list()
	if err != nil {
		return nil // nothing could be made with it
	}
	var plugins []json.RawMessage
	for _, p := range was.Plugins {
		same := func(o *libcni.PluginConfig) bool { return o.Network.Type == p.Network.Type }
		if !slices.ContainsFunc(list.Plugins, same) {
			plugins = append(plugins, p.Bytes)
		}
	}
	if len(plugins) == 0 {
		return nil
	}
	part := *r
	part.Part = true
	part.Config, err = json.Marshal(conf{"cniVersion": was.CNIVersion, "name": was.Name, "plugins": plugins})
	if err != nil {
		return nil
	}
	return &part
}
