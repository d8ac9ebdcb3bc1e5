package containerd

import (
	"errors"
	"sync"
	"time"
)

// viewLinger is how long an image stays mounted after its last use: often the next
// workspace has the same image.
const viewLinger = time.Second

// view is an image that is mounted for reading.
type view struct {
	root  string // where it is mounted
	user  string // that the image names
	close func() error

	users int
	end   *time.Timer // closes a view without users; nil while it has some
}

// views are the images that are mounted now.
type views struct {
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
// since the driver was opened.
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
