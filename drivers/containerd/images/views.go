package images

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
)

// viewLinger is how long an image stays mounted after its last use: often the next
// workspace has the same image.
const viewLinger = time.Second

// view is an image that is mounted for reading.
type view struct {
	root  string // where it is mounted
	image View
	close func() error

	users int
	end   *time.Timer // closes a view without users; nil while it has some
}

// views are the images that are mounted now.
type views struct {
	dir   string // has the mounts; "" is the system's folder for temporary files
	mu    sync.Mutex
	clean sync.Once        // unmounts, before the first view, what a killed run left
	open  map[string]*view // by image
	errs  []error          // of closing views: closeAll returns them
}

// take returns the view of an image. It opens one when there is none.
func (v *views) take(image string, open func() (*view, error)) (*view, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open == nil {
		v.open = map[string]*view{}
	}
	one := v.open[image]
	if one == nil {
		var err error
		if one, err = open(); err != nil {
			return nil, err
		}
		v.open[image] = one
	}
	if one.end != nil {
		one.end.Stop()
		one.end = nil
	}
	one.users++
	return one, nil
}

// giveBack ends the use of a view. A view without users is closed after viewLinger.
func (v *views) giveBack(image string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.open[image]
	one.users--
	if one.users > 0 {
		return
	}
	one.end = time.AfterFunc(viewLinger, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if one.users == 0 && v.open[image] == one {
			v.shut(image)
		}
	})
}

func (v *views) shut(image string) {
	if err := v.open[image].close(); err != nil {
		v.errs = append(v.errs, err)
	}
	delete(v.open, image)
}

// closeAll closes the views that are open. It returns all errors of closing views
// since the store was made.
func (v *views) closeAll() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for image, one := range v.open {
		if one.end != nil {
			one.end.Stop()
		}
		v.shut(image)
	}
	return errors.Join(v.errs...)
}

// mounted mounts for reading while fn runs. It returns the error of fn unchanged.
func (v *views) mounted(ctx context.Context, mounts []mount.Mount, fn func(root string) error) error {
	var failed error
	v.clean.Do(func() { failed = cleanViews(v.dir) })
	if failed != nil {
		return failed
	}
	err := mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		failed = fn(root)
		return nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// UnmountLeft unmounts what a killed run left mounted, as every first view does. No
// other run may be changing the host.
func (s *Store) UnmountLeft() (err error) {
	if left, unread := os.ReadDir(s.views.dir); unread != nil || len(left) == 0 {
		return nil // there was no view yet, or all were closed
	}
	s.views.clean.Do(func() { err = cleanViews(s.views.dir) })
	return err
}

// cleanViews makes the folder of views and unmounts what is mounted there. That is
// of a run that was killed, because only one runs at a time.
func cleanViews(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := mount.SetTempMountLocation(dir); err != nil {
		return err
	}
	warnings, err := mount.CleanupTempMounts(0)
	return errors.Join(append(warnings, err)...)
}
