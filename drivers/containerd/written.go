package containerd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"

	"carrel/plan"
	"carrel/plan/state"
)

// The limits of finding out what was written: a root filesystem may have millions of
// files, and a plan may delete hundreds of root filesystems.
const (
	writtenMost  = 100_000 // files and folders of one root filesystem
	writtenLeast = 2_000   // of each of many
	writtenAll   = 200_000 // of all
	writtenPaths = 100     // that are told apart
	writtenAsked = 4       // root filesystems at the same time
)

// Written is what was written to root filesystems, by their keys.
func (d *Driver) Written(ctx context.Context, roots []plan.Root) map[string]state.Written {
	if len(roots) == 0 {
		return nil
	}
	most := min(max(writtenAll/len(roots), writtenLeast), writtenMost)
	found := make([]state.Written, len(roots))
	var group errgroup.Group
	group.SetLimit(writtenAsked)
	for i, root := range roots {
		group.Go(func() error {
			var err error
			if found[i], err = d.written(ctx, root, most); err != nil {
				found[i] = state.Written{Err: d.explain(err).Error()}
			}
			return nil
		})
	}
	_ = group.Wait() // errors are parts of the answers
	all := make(map[string]state.Written, len(roots))
	for i, root := range roots {
		all[root.Key] = found[i]
	}
	return all
}

func (d *Driver) written(ctx context.Context, root plan.Root, most int) (state.Written, error) {
	var c containers.Container
	if root.Container != "" {
		var err error
		if c, err = d.client.ContainerService().Get(ctx, root.Container); err != nil {
			return state.Written{}, err
		}
	}
	hidden, err := hiddenPaths(c)
	if err != nil {
		return state.Written{}, err
	}
	if root.Moved != "" {
		hidden = append(hidden, path.Clean(root.Moved))
	}
	snapshotter := cmp.Or(c.Snapshotter, d.Snapshotter)
	mounts, err := d.client.SnapshotService(snapshotter).Mounts(ctx, root.Key)
	if err != nil {
		return state.Written{}, err
	}
	upper := upperDir(mounts)
	if upper == "" {
		return state.Written{}, fmt.Errorf("snapshotter %s does not tell", snapshotter)
	}
	var config ocispec.ImageConfig
	if c.Image != "" {
		if config, err = d.imageConfig(ctx, c.Image); err != nil && !errdefs.IsNotFound(err) {
			return state.Written{}, err
		}
	}
	return writtenBelow(upper, hidden, slices.Sorted(maps.Keys(config.Volumes)), most)
}

// hiddenPaths are what mounts hide in the root filesystem of a container: the runtime
// makes files and folders there, to mount on.
func hiddenPaths(c containers.Container) ([]string, error) {
	all := []string{"/dev", "/proc", "/sys", resolvFile, hostsFile}
	if c.Spec == nil {
		return all, nil
	}
	var described specs.Spec
	if err := json.Unmarshal(c.Spec.GetValue(), &described); err != nil {
		return nil, fmt.Errorf("its OCI spec cannot be read: %w", err)
	}
	for _, m := range described.Mounts {
		all = append(all, path.Clean(m.Destination))
	}
	return all, nil
}

// upperDir is the folder that has what was written to an overlay; "" of other mounts.
func upperDir(mounts []mount.Mount) string {
	for _, m := range mounts {
		for _, option := range m.Options {
			if dir, ok := strings.CutPrefix(option, "upperdir="); ok {
				return dir
			}
		}
	}
	return ""
}

// writtenBelow is what was written to the upper folder of an overlay.
func writtenBelow(upper string, hidden, volumes []string, most int) (state.Written, error) {
	root, err := os.OpenRoot(upper)
	if err != nil {
		return state.Written{}, err
	}
	defer root.Close()
	w := writes{root: root, hidden: hidden, volumes: volumes, left: most, groups: map[string]*state.WrittenPath{}}
	for folders := []string{"/"}; len(folders) > 0 && w.left > 0; {
		last := len(folders) - 1
		folder := folders[last]
		below, err := w.folder(folder)
		if err != nil {
			return state.Written{}, err
		}
		folders = append(folders[:last], below...)
		w.more = w.more || w.left <= 0 && len(folders) > 0
	}
	return w.sum(), nil
}

// writes collects what was written.
type writes struct {
	root            *os.Root
	hidden, volumes []string
	left            int // files and folders that may still be looked at
	more            bool
	groups          map[string]*state.WrittenPath
}

// folder looks at the files of a folder, and returns the folders in it. Processes may
// write meanwhile: what is gone was not written.
func (w *writes) folder(name string) (below []string, err error) {
	f, err := w.root.OpenFile(path.Join(".", name), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for w.left > 0 {
		entries, err := f.ReadDir(min(w.left, 512))
		for _, entry := range entries {
			w.left--
			at := path.Join(name, entry.Name())
			switch {
			case slices.Contains(w.hidden, at):
			case entry.IsDir():
				below = append(below, at)
			default:
				if err := w.file(at, entry); err != nil {
					return nil, err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return below, nil
		}
		if err != nil {
			return nil, err
		}
	}
	w.more = true
	return below, nil
}

// file counts a file.
func (w *writes) file(at string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	one := w.group(at)
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && info.Mode()&fs.ModeCharDevice != 0 && stat.Rdev == 0: // how an overlay keeps that something is deleted
		one.Deleted++
	case ok && info.Mode().IsRegular():
		one.Files++
		one.Bytes += min(info.Size(), stat.Blocks*512) // a file may have holes
	default:
		one.Files++
	}
	return nil
}

// group is what a path is counted in: a volume of the image, or what has the same first
// two folders. Its path is the deepest folder that has all of it.
func (w *writes) group(at string) *state.WrittenPath {
	key, volume := "", false
	for _, v := range w.volumes {
		if v = path.Clean("/" + v); at == v || strings.HasPrefix(at, v+"/") {
			key, volume = v, true
		}
	}
	if !volume {
		words := strings.SplitN(at, "/", 4)
		key = strings.Join(words[:min(len(words)-1, 3)], "/")
		if key == "" {
			key = at
		}
	}
	one := w.groups[key]
	if one == nil {
		one = &state.WrittenPath{Path: at, Volume: volume}
		if volume {
			one.Path = key
		}
		w.groups[key] = one
	}
	for !volume && at != one.Path && !strings.HasPrefix(at, one.Path+"/") {
		one.Path = path.Dir(one.Path)
	}
	return one
}

func (w *writes) sum() state.Written {
	all := state.Written{More: w.more}
	for _, one := range w.groups {
		all.Paths = append(all.Paths, *one)
	}
	slices.SortFunc(all.Paths, func(a, b state.WrittenPath) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Files, a.Files), cmp.Compare(a.Path, b.Path))
	})
	if len(all.Paths) > writtenPaths {
		all.Paths, all.More = all.Paths[:writtenPaths], true
	}
	return all
}
