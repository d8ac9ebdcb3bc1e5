package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

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
	if err := d.check(ctx, n, s); err != nil {
		return err
	}
	if err := d.release(ctx, s.Workspace, old, damaged); err != nil {
		return err
	}
	if old != nil && old.Netns != r.Netns {
		if err := unpin(old.Netns); err != nil {
			return err
		}
	}
	if err := d.attach(ctx, n, r); err != nil {
		return d.undo(ctx, r, err)
	}
	return nil
}

// check finds what would make an attach fail, before anything is changed.
func (d *Driver) check(ctx context.Context, n *network, s plan.AttachNetwork) error {
	if err := d.hasPlugins(n.list); err != nil {
		return err
	}
	if err := free(ctx, s.Ports); err != nil {
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
		return nil, fmt.Errorf("%w; and undoing it: %w", err, noDel)
	}
	return d.add(ctx, n, r)
}

// undo removes everything of an attach that failed. When the DEL fails too, the
// record stays, so that the DEL is tried again later.
func (d *Driver) undo(ctx context.Context, r *record, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := d.del(ctx, r); err != nil {
		return fmt.Errorf("%w; and undoing it: %w", cause, err)
	}
	if err := d.remove(r.Workspace, r); err != nil {
		return fmt.Errorf("%w; and undoing it: %w", cause, err)
	}
	return cause
}

// DetachNetwork releases the address of a workspace and removes its namespace. It
// works after the namespace is gone, and after an attach that was cut short.
func (d *Driver) DetachNetwork(ctx context.Context, s plan.DetachNetwork) error {
	if err := valid("workspace", s.Workspace); err != nil {
		return err
	}
	return asRoot(d.detachNetwork(ctx, s.Workspace))
}

func (d *Driver) detachNetwork(ctx context.Context, workspace string) error {
	old, damaged, err := d.readOld(workspace)
	if err != nil {
		return err
	}
	if err := d.release(ctx, workspace, old, damaged); err != nil {
		return err
	}
	return d.remove(workspace, old)
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

// release runs the DEL of what is attached. Without a record and without a pinned
// namespace nothing is.
func (d *Driver) release(ctx context.Context, workspace string, old *record, damaged bool) error {
	if old != nil {
		// A DEL that is cut short may leave an interface without its ports.
		old.Detaching = true
		if err := d.write(old); err != nil {
			return err
		}
		return d.del(ctx, old)
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
