package cni

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"

	"carrel/plan/state"
)

// Attachments are the networks that workspaces were given, sorted by workspace:
// those with a record, whether they still work or not, and namespaces that are
// pinned without a record.
func (d *Driver) Attachments(ctx context.Context) ([]state.Attachment, error) {
	recorded, err := d.workspaces()
	if err != nil {
		return nil, err
	}
	links, host := map[string]int{}, resolver{}
	if len(recorded) > 0 {
		if links, err = hostLinks(); err != nil {
			return nil, err
		}
		if host, err = d.hostResolver(); err != nil {
			host = resolver{} // NameServers says why
		}
	}
	var all []state.Attachment
	for _, workspace := range recorded {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, d.attachment(workspace, links, host))
	}
	strays, err := d.strays(recorded)
	for _, workspace := range strays {
		all = append(all, state.Attachment{
			Workspace: workspace, Netns: inode(d.netns(workspace)), Broken: "its network namespace has no record",
		})
	}
	slices.SortFunc(all, func(a, b state.Attachment) int { return cmp.Compare(a.Workspace, b.Workspace) })
	return all, err
}

func (d *Driver) attachment(workspace string, links map[string]int, host resolver) state.Attachment {
	r, err := d.read(workspace)
	if err != nil {
		return state.Attachment{Workspace: workspace, Netns: inode(d.netns(workspace)), Broken: oneLine(err)}
	}
	if r == nil {
		return state.Attachment{Workspace: workspace, Broken: "it was detached while it was observed"}
	}
	a := state.Attachment{
		Workspace: workspace, Set: r.Set, Network: r.Network,
		Addresses: r.Addresses, Ports: r.Ports, Netns: inode(r.Netns),
	}
	a.Broken = cmp.Or(r.broken(a.Netns, links), d.missingFile(r))
	a.Stale = d.stale(r, host)
	return a
}

// strays are the workspaces that have a pinned namespace and no record.
func (d *Driver) strays(recorded []string) ([]string, error) {
	if ours, err := d.owns(); !ours || err != nil {
		return nil, err
	}
	pinned, err := names(filepath.Join(d.RunDir, netnsDir), "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pinned, func(name string) bool {
		_, found := slices.BinarySearch(recorded, name)
		return found
	}), nil
}
