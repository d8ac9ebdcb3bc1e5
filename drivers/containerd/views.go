package containerd

import (
	"errors"
	"sync"
	"time"
)

// viewLinger is for how long an image stays mounted that nobody looks into: the
// next workspace of the same image is often right behind.
const viewLinger = time.Second

// view is an image that is mounted.
type view struct {
	root  string
	user  string // that the image names
	close func() error

	users int
	end   *time.Timer // of one without users
}

// views are the images that are mounted now.
type views struct {
	mu    sync.Mutex
	clean sync.Once        // before the first, what a killed run left mounted is taken away
	open  map[string]*view // by image
	errs  []error          // of closing
}

// take gives the view of an image, which is opened when it is not there.
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

// giveBack ends the use of a view. Without users it is closed after a while.
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

// closeAll closes what is open and says what could not be closed, ever.
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
