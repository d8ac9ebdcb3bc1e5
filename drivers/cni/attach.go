package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"carrel/drivers/disk"
	"carrel/plan"
)

// cleanupTimeout limits undoing an attach that failed. It is of a context of its
// own, because the attach may have failed with its context.
const cleanupTimeout = 30 * time.Second

// AttachNetwork gives a workspace a network namespace with an address. An
// attachment that works is left as it is. One that does not is detached first, but
// its namespace is kept if it lives: a process in it gets its network back without
// a restart.
func (d *Driver) AttachNetwork(ctx context.Context, s plan.AttachNetwork) error {
	if err := errors.Join(valid("workspace", s.Workspace), valid("set", s.Set)); err != nil {
		return err
	}
	return asRoot(d.attachNetwork(ctx, s))
}

func (d *Driver) attachNetwork(ctx context.Context, s plan.AttachNetwork) error {
	n, err := d.network(len(s.Ports) > 0)
	if err != nil {
		return err
	}
	r := d.newRecord(s, n)
	old, damaged, err := d.readOld(s.Workspace)
	if err != nil {
		return err
	}
	if err := d.openRunDir(); err != nil {
		return err
	}
	if old != nil && old.matches(r) && old.works() {
		return d.writeFiles(old)
	}
	return withPorts(s.Ports, func() error {
		if err := d.check(ctx, n, s); err != nil {
			return err
		}
		if err := d.makeRoom(ctx, r, old, damaged); err != nil {
			return err
		}
		if err := d.attach(ctx, n, r); err != nil {
			return d.takeBack(ctx, r, err)
		}
		return nil
	})
}

// makeRoom detaches what a workspace has, and removes what it left earlier, before
// it is attached anew. What cannot be undone yet is set aside. But on the network of
// the new attachment nothing may be left: plugins know both by the same id.
func (d *Driver) makeRoom(ctx context.Context, r, old *record, damaged bool) error {
	var undone *leftError
	err := d.release(ctx, r.Workspace, old, damaged)
	if errors.As(err, &undone) {
		if !undone.rest.Part && undone.rest.Network == r.Network {
			return err
		}
		err = d.setAside(undone.rest, undone.err)
	}
	if err != nil {
		return err
	}
	if old != nil && old.Netns != r.Netns {
		if err := unpin(old.Netns); err != nil {
			return err
		}
	}
	var warning *plan.Warning
	if err := d.clean(ctx, r.Workspace, nil); err != nil && !errors.As(err, &warning) {
		return err
	}
	all, err := d.leftOf(r.Workspace)
	for _, l := range all {
		if l.ID != "" && !l.Part && l.Network == r.Network {
			return fmt.Errorf("what an earlier attachment to network %s left cannot be removed: %s (mend that)", l.Network, l.Error)
		}
	}
	return err
}

// check finds what would make an attach fail, before anything is changed.
func (d *Driver) check(ctx context.Context, n *network, s plan.AttachNetwork) error {
	if err := d.hasPlugins(n.list); err != nil {
		return err
	}
	if err := d.understood(ctx, n); err != nil {
		return err
	}
	if err := free(ctx, s.Ports); err != nil {
		return err
	}
	if err := d.published(ctx, s); err != nil {
		return err
	}
	return d.allow(n)
}

// attach writes the record of what the ADD is given, pins the namespace, runs the
// ADD, and adds to the record what the ADD returned.
func (d *Driver) attach(ctx context.Context, n *network, r *record) error {
	if err := d.write(r); err != nil {
		return err
	}
	if err := pin(r.Netns); err != nil {
		return err
	}
	result, err := d.addOrRetry(ctx, n, r)
	if err != nil {
		return err
	}
	if err := r.complete(result); err != nil {
		return err
	}
	if err := d.write(r); err != nil {
		return err
	}
	return d.writeFiles(r)
}

// addOrRetry runs the ADD. When it fails, it runs a DEL and the ADD once more: the
// reason may be a leftover without a record, such as an address or an interface,
// which a DEL removes.
func (d *Driver) addOrRetry(ctx context.Context, n *network, r *record) (*types100.Result, error) {
	result, err := d.add(ctx, n, r)
	if err == nil || ctx.Err() != nil {
		return result, err
	}
	if noDel := d.del(ctx, r); noDel != nil {
		return nil, alsoUndoing(err, noDel)
	}
	return d.add(ctx, n, r)
}

// alsoUndoing is an error and that of undoing what it cut short, if that says more.
func alsoUndoing(err, undoing error) error {
	if strings.HasSuffix(err.Error(), undoing.Error()) {
		return err
	}
	return fmt.Errorf("%w; and undoing it: %w", err, undoing)
}

// takeBack removes everything of an attach that failed. When the DEL fails too, the
// record stays, so that the DEL is tried again later.
func (d *Driver) takeBack(ctx context.Context, r *record, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := d.del(ctx, r); err != nil {
		return alsoUndoing(cause, err)
	}
	if err := d.remove(r.Workspace, r); err != nil {
		return fmt.Errorf("%w; and undoing it: %w", cause, err)
	}
	return cause
}

// DetachNetwork releases the address of a workspace and removes its namespace. It
// works after the namespace is gone, and after an attach that was cut short. When a
// plugin fails, the workspace is detached all the same, with a *plan.Warning: what
// may be left is recorded for CleanNetwork.
func (d *Driver) DetachNetwork(ctx context.Context, s plan.DetachNetwork) error {
	if err := valid("workspace", s.Workspace); err != nil {
		return err
	}
	warning, err := d.detachNetwork(ctx, s.Workspace)
	if err == nil && warning != "" {
		return &plan.Warning{Text: warning}
	}
	return asRoot(err)
}

func (d *Driver) detachNetwork(ctx context.Context, workspace string) (warning string, err error) {
	old, damaged, err := d.readOld(workspace)
	if err != nil {
		return "", err
	}
	err = d.release(ctx, workspace, old, damaged)
	var undone *leftError
	if errors.As(err, &undone) && ctx.Err() == nil {
		err = d.setAside(undone.rest, undone.err)
		warning = (&left{record: *undone.rest}).warn(undone.err)
	}
	if err != nil {
		return "", err
	}
	return warning, d.remove(workspace, old)
}

// readOld reads the record of an attachment that is to be detached. A damaged one
// is no error then.
func (d *Driver) readOld(workspace string) (old *record, damaged bool, err error) {
	old, err = d.read(workspace)
	if bad := (*damagedError)(nil); errors.As(err, &bad) {
		return nil, true, nil
	}
	return old, false, err
}

// leftError is a DEL that failed. What is left of the attachment is in a record.
type leftError struct {
	rest *record
	err  error
}

func (e *leftError) Error() string { return e.err.Error() }
func (e *leftError) Unwrap() error { return e.err }

// release runs the DEL of what is attached. Without a record and without a pinned
// namespace nothing is. The error of a DEL is a *leftError.
func (d *Driver) release(ctx context.Context, workspace string, old *record, damaged bool) error {
	if old != nil {
		// A DEL that is cut short may leave an interface without its ports.
		old.Detaching = true
		if err := d.write(old); err != nil && !disk.Full(err) { // an address is given back on a full disk too
			return err
		}
		if rest, err := d.undo(ctx, old); err != nil {
			return &leftError{rest, err}
		}
		return nil
	}
	if !damaged {
		ours, err := d.owns()
		if err != nil || !ours {
			return err
		}
		if _, err := os.Lstat(d.netns(workspace)); err != nil {
			return ifThere(err)
		}
	}
	return d.delUnknown(ctx, workspace)
}

// remove removes what is left of an attachment after its DEL: the pinned
// namespace, the files in the run dir, and the record last. Old is nil when there
// is no record, or a damaged one. A power cut may bring the record back; then the
// workspace is detached once more.
func (d *Driver) remove(workspace string, old *record) error {
	netns := d.netns(workspace)
	ours, err := d.owns()
	if old != nil {
		netns = old.Netns
		// The owner file may be lost; the record says who pinned the namespace.
		ours, err = d.ownsOrUnknown()
	}
	if err != nil {
		return err
	}
	if ours {
		if err := errors.Join(unpin(netns), d.removeFiles(workspace)); err != nil {
			return err
		}
	}
	return ifThere(os.Remove(d.recordFile(workspace)))
}

// asRoot says what to do about a missing permission.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (networks need root: run carrel as root)", err)
	}
	return err
}
