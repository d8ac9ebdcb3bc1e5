package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// destination is a place that a user named for output. A file that is there has
// all of its old content or all of the new one, and keeps its mode and owner. A
// device, a FIFO and a socket are written into, as a shell does.
type destination struct {
	path   string      // without links, except those below /proc
	info   os.FileInfo // of what is there; nil when nothing is
	stdout *os.File    // when the path leads to standard output itself
}

// findDestination follows the links of a path. It opens nothing.
func findDestination(path string, stdout io.Writer) (destination, error) {
	at, info, err := follow(path)
	switch {
	case err != nil:
		return destination{}, &fs.PathError{Op: "write", Path: path, Err: cause(err)}
	case info == nil:
		return destination{path: at}, nil
	case info.IsDir():
		return destination{}, fmt.Errorf("%s is a folder (name a file)", path)
	}
	d := destination{path: at, info: info}
	if f, isFile := stdout.(*os.File); isFile {
		if own, err := f.Stat(); err == nil && os.SameFile(own, info) {
			d.stdout = f
		}
	}
	return d, nil
}

// cause is an error of the system without its path.
func cause(err error) error {
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}

// maxLinks is how many links the kernel follows in one path.
const maxLinks = 40

// follow is where the links of a path lead, and what is there: nil when nothing
// is. Links below /proc stay: /dev/stdout may lead to a pipe, which has no path.
func follow(path string) (at string, info os.FileInfo, err error) {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", nil, err
		}
		path = dir + "/" + path
	}
	at, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, part) // at has no links, so .. is what is above it
		info, err := os.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(rest) == 0:
			return next, nil, nil
		case err != nil:
			return "", nil, err
		case planted(at, info):
			return "", nil, fmt.Errorf("%s belongs to another user, and everyone can write to its folder (choose another path)", next)
		case info.Mode()&fs.ModeSymlink == 0:
			at = next
		case inProc(at):
			next = filepath.Join(append([]string{next}, rest...)...)
			info, err := os.Stat(next)
			return next, info, err
		default:
			target, err := os.Readlink(next)
			if links++; err == nil && links > maxLinks {
				err = unix.ELOOP
			}
			if err != nil {
				return "", nil, err
			}
			rest = append(strings.Split(target, "/"), rest...)
			if filepath.IsAbs(target) {
				at = "/"
			}
		}
	}
	info, err = os.Lstat(at)
	return at, info, err
}

func inProc(dir string) bool {
	var kind unix.Statfs_t
	return unix.Statfs(dir, &kind) == nil && kind.Type == unix.PROC_SUPER_MAGIC
}

// planted reports whether another user may have put an entry into a shared folder
// such as /tmp, to have what is written there go elsewhere. It is the rule of the
// kernel (fs.protected_symlinks and its like), which a host may have switched off.
func planted(folder string, entry os.FileInfo) bool {
	dir, err := os.Lstat(folder)
	if err != nil || dir.Mode()&fs.ModeSticky == 0 || dir.Mode().Perm()&0o022 == 0 || entry.IsDir() {
		return false
	}
	by := ownerOf(entry).Uid
	return int(by) != os.Geteuid() && by != ownerOf(dir).Uid
}

func ownerOf(info os.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }

// write writes a whole text.
func (d destination) write(text []byte) error {
	if d.stdout != nil {
		_, err := d.stdout.Write(text)
		return err
	}
	if !d.replaceable() {
		return d.overwrite(text)
	}
	f, err := d.pending()
	if err == nil {
		_, err = f.Write(text)
		err = complete(f, err)
	}
	if d.info != nil && (errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EBUSY)) {
		return d.overwrite(text) // its folder, or its owner, is not ours; or it is a mount
	}
	return err
}

// replaceable reports whether a new file can take the place. A file that has
// several names would lose the others.
func (d destination) replaceable() bool {
	return d.info == nil || d.info.Mode().IsRegular() && ownerOf(d.info).Nlink == 1 && !inProc(filepath.Dir(d.path))
}

// pending is a new file beside the place, with a name that nobody can foresee. It
// has the mode and the owner of the file that it will replace.
func (d destination) pending() (*renameio.PendingFile, error) {
	mode := fs.FileMode(0o600)
	if d.info != nil {
		mode = d.info.Mode().Perm()
	}
	f, err := renameio.NewPendingFile(d.path, renameio.WithTempDir(filepath.Dir(d.path)), renameio.WithStaticPermissions(mode))
	if err != nil || d.info == nil {
		return f, err
	}
	owner := ownerOf(d.info)
	if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return nil, errors.Join(err, f.Cleanup())
	}
	return f, nil
}

// complete gives a pending file its name, or removes it after a failure.
func complete(f *renameio.PendingFile, failed error) error {
	if failed == nil {
		failed = f.CloseAtomicallyReplace()
	}
	if failed != nil {
		return errors.Join(failed, f.Cleanup())
	}
	return nil
}

// overwrite writes a text into what is there.
func (d destination) overwrite(text []byte) error {
	f, err := d.open()
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if file, ok := f.(*os.File); ok && err == nil && d.info.Mode().IsRegular() {
		err = errors.Join(file.Truncate(int64(len(text))), file.Sync())
	}
	return errors.Join(err, f.Close())
}

// open opens what is there.
func (d destination) open() (io.WriteCloser, error) {
	if d.info.Mode()&fs.ModeSocket != 0 {
		return net.Dial("unix", d.path)
	}
	f, err := os.OpenFile(d.path, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if opened, err := f.Stat(); err != nil || !os.SameFile(opened, d.info) {
		return nil, errors.Join(fmt.Errorf("%s was replaced meanwhile (try again)", d.path), err, f.Close())
	}
	return f, nil
}

// stream is for output that is written bit by bit. A file that is there already is
// an error. finish completes the output, or removes a new file after a failure;
// made reports whether there is a new file then.
func (d destination) stream() (out io.Writer, finish func(failed error) (made bool, err error), err error) {
	switch {
	case d.stdout != nil:
		return d.stdout, func(error) (bool, error) { return false, nil }, nil
	case d.info == nil:
		f, err := d.pending()
		if err != nil {
			return nil, nil, err
		}
		return f, func(failed error) (bool, error) {
			if failed != nil {
				return false, f.Cleanup()
			}
			if _, err := os.Lstat(d.path); err == nil {
				failed = d.exists()
			}
			return true, complete(f, failed)
		}, nil
	case d.info.Mode().IsRegular():
		return nil, nil, d.exists()
	}
	f, err := d.open()
	if err != nil {
		return nil, nil, err
	}
	return f, func(error) (bool, error) { return false, f.Close() }, nil
}

func (d destination) exists() error {
	return fmt.Errorf("%s already exists (name another file with -o)", d.path)
}
