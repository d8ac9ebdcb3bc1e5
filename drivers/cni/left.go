package cni

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/google/renameio/v2"

	"carrel/plan"
	"carrel/plan/state"
)

// leftDir is the folder, below that of the records, for what attachments may have
// left: their DEL failed when their workspaces were stopped or deleted.
const leftDir = "left"

// leftRetry is how long nothing is tried again that failed and whose plugins and
// configuration are as they were.
const leftRetry = 10 * time.Minute

// left is what an attachment may have left on the host. Its record has no namespace:
// that is gone, and another attachment of the workspace may have one at its path.
type left struct {
	record
	Error string    `json:"error"` // of the DEL
	Tried time.Time `json:"tried"` // last
	With  string    `json:"with"`  // a digest of the plugins and configurations that it was tried with
}

func (d *Driver) leftovers() string { return filepath.Join(d.networks(), leftDir) }

// leftFile has one file for each network of a workspace: names of workspaces have no
// dot.
func (d *Driver) leftFile(r *record) string {
	return filepath.Join(d.leftovers(), r.Workspace+"."+cmp.Or(r.Network, "unknown")+recordSuffix)
}

// setAside keeps what an attachment may have left, for a later CleanNetwork.
func (d *Driver) setAside(r *record, cause error) error {
	l := left{record: *r, Error: oneLine(cause), Tried: time.Now().UTC(), With: d.tools(r)}
	l.Netns, l.Result, l.Detaching = "", nil, false
	if err := os.MkdirAll(d.leftovers(), 0o700); err != nil {
		return err
	}
	if before, err := d.readLeft(d.leftFile(r)); err == nil && len(l.Ports) == 0 {
		l.Ports = before.Ports // one DEL with ports removes all rules of the workspace
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return errors.Join(renameio.WriteFile(d.leftFile(r), text, 0o600, renameio.WithTempDir(d.leftovers())), syncDir(d.leftovers()))
}

func (d *Driver) readLeft(file string) (*left, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var l left
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, &damagedError{file, err}
	}
	if valid("workspace", l.Workspace) != nil || l.ID == "" || l.Interface == "" {
		return nil, &damagedError{file, errors.New("fields are missing")}
	}
	return &l, nil
}

// leftOf are what a workspace, or every one when that is "", may have left. A file
// that cannot be read has no id.
func (d *Driver) leftOf(workspace string) (all []*left, err error) {
	files, err := filepath.Glob(filepath.Join(d.leftovers(), cmp.Or(workspace, "*")+".*"+recordSuffix))
	for _, file := range files {
		l, damaged := d.readLeft(file)
		if damaged != nil {
			name, network, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), recordSuffix), ".")
			l = &left{record: record{Workspace: name, Network: network}, Error: oneLine(damaged)}
		}
		all = append(all, l)
	}
	return all, err
}

// Leftovers are what workspaces may have left on the host, sorted by workspace.
func (d *Driver) Leftovers() ([]state.Leftover, error) {
	all, err := d.leftOf("")
	var found []state.Leftover
	for _, l := range all {
		found = append(found, state.Leftover{
			Workspace: l.Workspace, Set: l.Set, Network: l.Network, What: l.what(), File: d.leftFile(&l.record), Blocked: d.blocked(l),
		})
	}
	return found, err
}

// what says what may be left.
func (l *left) what() string {
	words := []string{}
	for _, a := range l.Addresses {
		words = append(words, "address "+a)
	}
	for _, link := range l.Links {
		if linkIndex(link.Name) == link.Index && link.Name != l.bridge() {
			words = append(words, "interface "+link.Name)
		}
	}
	for _, p := range l.Ports {
		words = append(words, fmt.Sprintf("port %d/%s", p.Host, p.Protocol))
	}
	if len(words) == 0 {
		return "an address"
	}
	return strings.Join(words, ", ")
}

// bridge is the bridge that the configuration names: workspaces share it.
func (l *left) bridge() string {
	var config struct{ Plugins []struct{ Bridge string } }
	if err := json.Unmarshal(l.Config, &config); err == nil {
		for _, p := range config.Plugins {
			if p.Bridge != "" {
				return p.Bridge
			}
		}
	}
	return ""
}

// blocked is why it makes no sense to try again now; "" when it does.
func (d *Driver) blocked(l *left) string {
	if l.ID == "" {
		return l.Error
	}
	missing := errors.New("no configuration says how")
	for _, list := range d.lists(&l.record) {
		if missing = d.hasPlugins(list); missing == nil {
			break
		}
	}
	switch {
	case missing != nil:
		return oneLine(missing)
	case time.Since(l.Tried) < leftRetry && l.With == d.tools(&l.record):
		return l.Error
	}
	return ""
}

// lists are the configurations that may undo a record.
func (d *Driver) lists(r *record) (all []*libcni.NetworkConfigList) {
	if list, err := r.list(); err == nil {
		all = append(all, list)
	}
	if now := d.mended(r); now != nil {
		all = append(all, now)
	}
	return all
}

// tools is a digest of what a record is undone with: configurations and plugins.
func (d *Driver) tools(r *record) string {
	sum := sha256.New()
	for _, list := range d.lists(r) {
		sum.Write(list.Bytes)
		for _, p := range list.Plugins {
			for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
				path, err := invoke.FindInPath(name, d.BinDirs)
				if info, noFile := os.Stat(path); err == nil && noFile == nil {
					fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano())
				}
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// CleanNetwork removes what earlier attachments of a workspace left. What cannot be
// removed yet stays recorded, which is a *plan.Warning.
func (d *Driver) CleanNetwork(ctx context.Context, s plan.CleanNetwork) error {
	if err := valid("workspace", s.Workspace); err != nil {
		return err
	}
	current, _, err := d.readOld(s.Workspace)
	if err != nil {
		return err
	}
	return d.clean(ctx, s.Workspace, current)
}

// clean is CleanNetwork beside an attachment, nil when there is none.
func (d *Driver) clean(ctx context.Context, workspace string, current *record) error {
	all, err := d.leftOf(workspace)
	if err != nil {
		return err
	}
	var warnings []string
	for _, l := range all {
		file := d.leftFile(&l.record)
		if l.ID == "" {
			warnings = append(warnings, l.Error)
			continue
		}
		if current != nil && current.Network == l.Network && !l.Part {
			// The network was given anew with the same id: its DEL removes all, and
			// one now would take it away.
			if err := os.Remove(file); err != nil {
				return err
			}
			continue
		}
		rest, failed := d.undo(ctx, &l.record)
		switch {
		case failed == nil:
			err = os.Remove(file)
		case ctx.Err() != nil:
			err = failed
		default:
			err = d.setAside(rest, failed)
			warnings = append(warnings, (&left{record: *rest}).warn(failed))
		}
		if err != nil {
			return err
		}
	}
	if len(warnings) > 0 {
		return &plan.Warning{Text: strings.Join(warnings, "; ")}
	}
	return nil
}

// warn says what may be left and why.
func (l *left) warn(cause error) string {
	return fmt.Sprintf("%s of network %s may be left, which a later apply removes when it can: %s", l.what(), cmp.Or(l.Network, "unknown"), oneLine(cause))
}
