package volumes

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// extractor makes the files of an archive below a root. No entry can lead out of it.
type extractor struct {
	root    *os.Root
	tar     *tar.Reader
	room    int64    // bytes that may still be written
	logical int64    // bytes of all files so far, holes included: limited by maxLogical
	entries int      // so far: limited by maxEntries
	folders []folder // whose times are set at the end
}

// folder is a folder whose time is set at the end, because files that are made in it
// change it.
type folder struct {
	name string
	at   time.Time
}

// entry makes one file.
func (x *extractor) entry(h *tar.Header) error {
	x.entries++
	x.logical += h.Size
	if x.entries > maxEntries || x.logical > maxLogical {
		return errors.New("it is larger than an archive may be")
	}
	name, err := inside(h.Name)
	if err != nil {
		return err
	}
	if err := x.make(name, h); err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	return nil
}

// inside is the cleaned name of an entry. It refuses names that lead out of the folder.
func inside(name string) (string, error) {
	if path.IsAbs(name) {
		return "", fmt.Errorf("%q is an absolute path (archives of data have relative ones)", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q leads out of the folder", name)
		}
	}
	return path.Clean(name), nil
}

func (x *extractor) make(name string, h *tar.Header) error {
	if err := x.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeDir:
		if err := x.root.MkdirAll(name, 0o700); err != nil {
			return err
		}
		x.folders = append(x.folders, folder{name, h.ModTime})
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.file(name, h)
	case tar.TypeLink:
		target, err := inside(h.Linkname)
		if err != nil {
			return err
		}
		return x.root.Link(target, name)
	case tar.TypeSymlink:
		if err := x.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if err := x.special(name, h); err != nil {
			return err
		}
	default:
		return fmt.Errorf("entries of type %q are not known", h.Typeflag)
	}
	return x.describe(name, h)
}

// file makes a regular file. Blocks of zeros become holes.
func (x *extractor) file(name string, h *tar.Header) error {
	f, err := x.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(x.content(f, h.Size), f.Close()); err != nil {
		return err
	}
	return x.describe(name, h)
}

// hole is the size of the blocks that are not written when they are zeros.
const hole = 4 << 10

func (x *extractor) content(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	block, zeros := make([]byte, 64*hole), make([]byte, hole)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(x.tar, block[:min(int64(len(block)), size-at)])
		if err != nil {
			return err
		}
		for i := 0; i < n; i += hole {
			part := block[i:min(i+hole, n)]
			if bytes.Equal(part, zeros[:len(part)]) {
				continue
			}
			x.room -= int64(len(part))
			if x.room < 0 {
				return errors.New("there is not enough room on the disk for what is in the archive")
			}
			if _, err := f.WriteAt(part, at+int64(i)); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return nil
}

// special makes a device or a named pipe.
func (x *extractor) special(name string, h *tar.Header) error {
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
	return x.beside(name, func(parent int, base string) error {
		return unix.Mknodat(parent, base, kind|0o600, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	})
}

// describe gives a file its owner, mode, times and attributes.
func (x *extractor) describe(name string, h *tar.Header) error {
	if err := x.root.Lchown(name, h.Uid, h.Gid); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := x.root.Chmod(name, h.FileInfo().Mode()); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeDir {
		f, err := x.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := setXattrs(f, h); err != nil {
			return err
		}
	}
	return x.times(name, h.ModTime)
}

func (x *extractor) times(name string, at time.Time) error {
	stamp := unix.NsecToTimespec(at.UnixNano())
	return x.beside(name, func(parent int, base string) error {
		return unix.UtimesNanoAt(parent, base, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// finish sets the times of folders, inner ones first.
func (x *extractor) finish() error {
	for _, f := range slices.Backward(x.folders) {
		if err := x.times(f.name, f.at); err != nil {
			return err
		}
	}
	return nil
}

// beside opens the folder of a file, below the root, for a call that needs it.
func (x *extractor) beside(name string, call func(parent int, base string) error) error {
	parent, err := x.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	return call(int(parent.Fd()), path.Base(name))
}

// setXattrs gives an open file its extended attributes.
func setXattrs(f *os.File, h *tar.Header) error {
	for record, value := range h.PAXRecords {
		name, is := strings.CutPrefix(record, xattrRecord)
		if !is {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
	}
	return nil
}
