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

// cleanup bounds taking back what an attach did: it has a context of its own,
// because the one of the call may be what ended.
const cleanup = 30 * time.Second

// AttachNetwork gives a workspace a namespace with an address. What works is left
// as it is; what is left of an earlier attachment is taken away first, but a
// namespace that lives is kept: a process may be in it, and has its network back
// without a restart.
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
	old, lost, err := d.recall(s.Workspace)
	if err != nil {
		return err
	}
	if err := d.openRunDir(); err != nil {
		return err
	}
	if old != nil && old.serves(r) && old.works() {
		return d.writeFiles(old)
	}
	if err := d.ready(ctx, n, s); err != nil {
		return err
	}
	if err := d.release(ctx, s.Workspace, old, lost); err != nil {
		return err
	}
	if old != nil && old.Netns != r.Netns {
		if err := unpin(old.Netns); err != nil {
			return err
		}
	}
	if err := d.attach(ctx, n, r); err != nil {
		return d.abandon(ctx, r, err)
	}
	return nil
}

// ready finds out what would make the attach fail before anything is changed.
func (d *Driver) ready(ctx context.Context, n *network, s plan.AttachNetwork) error {
	if err := d.hasPlugins(n.list); err != nil {
		return err
	}
	if err := free(ctx, s.Ports); err != nil {
		return err
	}
	return d.allow(n)
}

// attach pins the namespace and runs the ADD, between the two writes of the
// record.
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
	if err := r.returned(result); err != nil {
		return err
	}
	if err := d.write(r); err != nil {
		return err
	}
	return d.writeFiles(r)
}

// addOrRetry runs the ADD again, once, when it fails: what is in its way may be a
// leftover that no record tells of, such as an address or an interface, which
// a DEL takes away.
func (d *Driver) addOrRetry(ctx context.Context, n *network, r *record) (*types100.Result, error) {
	result, err := d.add(ctx, n, r)
	if err == nil || ctx.Err() != nil {
		return result, err
	}
	if noDel := d.del(ctx, r); noDel != nil {
		return nil, fmt.Errorf("%w; and taking it back: %w", err, noDel)
	}
	return d.add(ctx, n, r)
}

// abandon leaves nothing of an attach that failed. When the DEL fails too, the
// record stays, so that a later one can be tried.
func (d *Driver) abandon(ctx context.Context, r *record, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	if err := d.del(ctx, r); err != nil {
		return fmt.Errorf("%w; and taking it back: %w", cause, err)
	}
	if err := d.forget(r.Workspace, r.Netns); err != nil {
		return fmt.Errorf("%w; and taking it back: %w", cause, err)
	}
	return cause
}

// DetachNetwork takes the address and the namespace of a workspace back. It works
// when the namespace is gone, and when what an earlier run left is incomplete.
func (d *Driver) DetachNetwork(ctx context.Context, s plan.DetachNetwork) error {
	if err := valid("workspace", s.Workspace); err != nil {
		return err
	}
	return asRoot(d.detachNetwork(ctx, s.Workspace))
}

func (d *Driver) detachNetwork(ctx context.Context, workspace string) error {
	old, lost, err := d.recall(workspace)
	if err != nil {
		return err
	}
	if err := d.release(ctx, workspace, old, lost); err != nil {
		return err
	}
	path := d.netns(workspace)
	if old != nil {
		path = old.Netns
	}
	return d.forget(workspace, path)
}

// recall reads a record. A damaged one is lost, which is no error: it is to be
// taken away.
func (d *Driver) recall(workspace string) (old *record, lost bool, err error) {
	old, err = d.read(workspace)
	if bad := (*damaged)(nil); errors.As(err, &bad) {
		return nil, true, nil
	}
	return old, false, err
}

// release runs the DEL of whatever is attached. Nothing recorded and nothing
// pinned is nothing attached.
func (d *Driver) release(ctx context.Context, workspace string, old *record, lost bool) error {
	if old != nil {
		return d.del(ctx, old)
	}
	if !lost {
		ours, err := d.owns()
		if err != nil || !ours {
			return err
		}
		if _, err := os.Lstat(d.netns(workspace)); err != nil {
			return gone(err)
		}
	}
	return d.delUnknown(ctx, workspace)
}

// forget takes away all that is ours after a DEL, the record last. A power cut
// may bring the record back; then it is detached once more.
func (d *Driver) forget(workspace, netns string) error {
	ours, err := d.owns()
	if err != nil {
		return err
	}
	if ours {
		if err := unpin(netns); err != nil {
			return err
		}
	}
	if err := d.removeFiles(workspace); err != nil {
		return err
	}
	return gone(os.Remove(d.recordFile(workspace)))
}

// asRoot says what to do about a missing permission.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (networks need root: run carrel as root)", err)
	}
	return err
}
