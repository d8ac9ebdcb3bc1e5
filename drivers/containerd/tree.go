package containerd

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// tree is the file system that the process of a container will see: the root
// filesystem of its image, and what is mounted over it. It is read on the host,
// before any of it is mounted.
type tree struct {
	root   string            // of the image, on the host
	mounts map[string]string // by path in the container: the path on the host; "" when the content is not known before the start
}

func newTree(root string, mounts []specs.Mount, volumes string) tree {
	t := tree{root: root, mounts: map[string]string{}}
	for _, m := range mounts {
		source, err := filepath.EvalSymlinks(m.Source)
		if m.Type != "bind" || err != nil || filepath.Dir(m.Source) == volumes {
			source = "" // also a volume: the change may fill it
		}
		t.mounts[filepath.Clean(m.Destination)] = source
	}
	return t
}

// without is the tree before one of its mounts is made, and those below that.
func (t tree) without(target string) tree {
	less := tree{root: t.root, mounts: map[string]string{}}
	target = filepath.Clean(target)
	for path, source := range t.mounts {
		if path != target && !strings.HasPrefix(path, target+"/") {
			less.mounts[path] = source
		}
	}
	return less
}

// found is a file of a tree. Nothing is known of one that a mount has whose content
// is not known yet: its info is nil.
type found struct {
	host string // its path on the host
	info fs.FileInfo
}

// maxLinks is how many symlinks the kernel follows.
const maxLinks = 40

// find resolves an absolute path as the process of the container will. Symlinks
// stay inside, whatever they say.
func (t tree) find(path string) (found, error) {
	at, links, rest := "/", 0, strings.Split(path, "/")
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0]) // ".." too: no symlink is left in at
		rest = rest[1:]
		file, err := t.look(next)
		switch {
		case err != nil:
			return found{}, inContainer(path, err)
		case file.info == nil && !t.leadsToMount(next):
			return found{}, nil
		case file.info == nil || file.info.Mode()&fs.ModeSymlink == 0:
			at = next
			continue
		}
		if links++; links > maxLinks {
			return found{}, inContainer(path, syscall.ELOOP)
		}
		target, err := os.Readlink(file.host)
		if err != nil {
			return found{}, inContainer(path, err)
		}
		rest = append(strings.Split(target, "/"), rest...)
		if filepath.IsAbs(target) {
			at = "/"
		}
	}
	return t.look(at)
}

// look is the file at a path, a symlink not followed.
func (t tree) look(path string) (found, error) {
	host, known := t.host(path)
	if !known {
		return found{}, nil
	}
	info, err := os.Lstat(host)
	if err != nil && t.leadsToMount(path) { // the runtime makes the folders on the way to a mount
		return found{}, nil
	}
	return found{host, info}, err
}

// host is where the host has a path of the container, not followed if it is a
// symlink. It is not known when a mount has it whose content is not known.
func (t tree) host(path string) (host string, known bool) {
	for at := path; at != "/"; at = filepath.Dir(at) {
		if source, mounted := t.mounts[at]; mounted {
			return filepath.Join(source, strings.TrimPrefix(path, at)), source != ""
		}
	}
	return filepath.Join(t.root, path), true
}

func (t tree) leadsToMount(path string) bool {
	for mount := range t.mounts {
		if strings.HasPrefix(mount, path+"/") {
			return true
		}
	}
	return false
}

// inContainer is an error about a path, without the path that the host has for it.
func inContainer(path string, err error) error {
	if inner, ok := err.(*fs.PathError); ok {
		err = inner.Err
	}
	return &fs.PathError{Op: "find", Path: path, Err: err}
}

// search is the file that a command names: found in one of the folders of PATH when
// the name has no slash. The error says why none is executable.
func (t tree) search(p specs.Process, command string) (found, error) {
	candidates := []string{relative(p, command)}
	if !strings.Contains(command, "/") {
		candidates = nil
		for _, folder := range filepath.SplitList(variable(p.Env, "PATH")) {
			candidates = append(candidates, filepath.Join(relative(p, folder), command))
		}
	}
	unknown, refused := false, error(fs.ErrNotExist)
	for _, path := range candidates {
		file, err := t.find(path)
		switch {
		case err != nil:
		case file.info == nil:
			unknown = true
		case file.info.IsDir():
			refused = fmt.Errorf("%s is a folder: %w", path, fs.ErrInvalid)
		case file.info.Mode()&0o111 == 0:
			refused = fmt.Errorf("%s: %w", path, fs.ErrPermission)
		default:
			return file, nil
		}
	}
	if unknown {
		return found{}, nil
	}
	return found{}, refused
}

// variable is a variable of an environment; the last of several counts.
func variable(env []string, name string) string {
	for _, pair := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// relative is a path of the container, which may be relative to the working folder
// of a process.
func relative(p specs.Process, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Cwd, path)
}
