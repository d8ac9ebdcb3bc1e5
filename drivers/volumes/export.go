package volumes

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/continuity/sysx"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// xattrRecord is before the name of an extended attribute in a PAX record, as
// GNU tar, bsdtar and libarchive write it.
const xattrRecord = "SCHILY.xattr."

// Export writes the volume of a workspace as an archive: tar in the PAX format,
// compressed with zstd, with owners, modes, times, links, devices and extended
// attributes. Holes of sparse files are not read, and cost next to nothing.
// Sockets are left out. The workspace may run: files that changed or went while
// they were read are named, and the archive is whole all the same. Progress,
// which may be nil, is given the bytes of files so far.
func (d *Driver) Export(ctx context.Context, workspace string, out io.Writer, progress func(done int64)) (changed []string, err error) {
	live, err := d.path(liveDir, workspace)
	if err != nil {
		return nil, err
	}
	// Below a Root no symlink leads out, even one that the workspace makes
	// while its files are read.
	root, err := os.OpenRoot(live)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("this host has no volume of %s (carrel data ls lists all)", workspace)
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	compressed, err := zstd.NewWriter(out)
	if err != nil {
		return nil, err
	}
	e := &exporter{ctx: ctx, root: root, tar: tar.NewWriter(compressed), names: map[inode]string{}, progress: progress}
	err = e.entry(".", fs.ModeDir)
	if err == nil {
		err = e.tar.Close()
	}
	return e.changed, errors.Join(err, compressed.Close())
}

// inode tells files with several names.
type inode struct{ dev, ino uint64 }

type exporter struct {
	ctx      context.Context
	root     *os.Root
	tar      *tar.Writer
	names    map[inode]string // the first name of files that have several
	changed  []string
	done     int64
	progress func(done int64)
}

// entry writes a file, or a folder with all that is below it. What went since
// it was listed is left out.
func (e *exporter) entry(name string, kind fs.FileMode) error {
	if e.ctx.Err() != nil {
		return e.ctx.Err()
	}
	if kind == fs.ModeSocket {
		return nil
	}
	err := e.write(name)
	if err == nil && kind == fs.ModeDir {
		err = e.folder(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		e.changed = append(e.changed, name)
		return nil
	}
	return err
}

// folder writes what is in a folder. Names need not be UTF-8.
func (e *exporter) folder(name string) error {
	f, err := e.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, entry := range entries {
		if err := e.entry(path.Join(name, entry.Name()), entry.Type()); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) write(name string) error {
	info, err := e.root.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		return e.file(name)
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err = e.root.Readlink(name)
		if err != nil {
			return err
		}
	}
	header, err := header(name, info, target)
	if err != nil {
		return err
	}
	if info.IsDir() {
		f, err := e.root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := xattrs(f, header); err != nil {
			return err
		}
	}
	return e.tar.WriteHeader(header)
}

// file writes a regular file: what is opened is what is described.
func (e *exporter) file(name string) error {
	f, err := e.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header, err := header(name, info, "")
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	id := inode{stat.Dev, stat.Ino}
	if first, seen := e.names[id]; seen && stat.Nlink > 1 {
		header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		return e.tar.WriteHeader(header)
	}
	e.names[id] = header.Name
	if err := xattrs(f, header); err != nil {
		return err
	}
	if err := e.tar.WriteHeader(header); err != nil {
		return err
	}
	content := &sparseReader{f: f, size: header.Size}
	if _, err := io.Copy(e.tar, &counted{e, content}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	after, err := f.Stat()
	if err == nil && (content.short || after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime())) {
		e.changed = append(e.changed, name)
	}
	return err
}

// header describes an entry. Users and groups are numbers: names mean other
// ones on another host.
func header(name string, info fs.FileInfo, target string) (*tar.Header, error) {
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	return h, nil
}

// xattrs adds the extended attributes of an open file to its description.
func xattrs(f *os.File, h *tar.Header) error {
	open := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	names, err := sysx.Listxattr(open)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: extended attributes: %w", h.Name, err)
	}
	for _, name := range names {
		value, err := sysx.Getxattr(open, name)
		if errors.Is(err, unix.ENODATA) || strings.Contains(name, "=") {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: extended attribute %s: %w", h.Name, name, err)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+name] = string(value)
	}
	return nil
}

// counted tells of the bytes that are read, and ends when the context does.
type counted struct {
	e *exporter
	io.Reader
}

func (c *counted) Read(b []byte) (int, error) {
	if c.e.ctx.Err() != nil {
		return 0, c.e.ctx.Err()
	}
	n, err := c.Reader.Read(b)
	c.e.done += int64(n)
	if c.e.progress != nil {
		c.e.progress(c.e.done)
	}
	return n, err
}

// sparseReader reads exactly size bytes of a file. Holes are not read from the
// disk. What a file that shrank does not have any more is zeros.
type sparseReader struct {
	f        *os.File
	size, at int64
	data     int64 // where the data ends that at is in
	hole     int64 // where the hole ends that at is in
	short    bool
}

func (r *sparseReader) Read(b []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.at >= r.data && r.at >= r.hole {
		r.look()
	}
	if r.at < r.hole {
		n := int(min(int64(len(b)), r.hole-r.at))
		clear(b[:n])
		r.at += int64(n)
		return n, nil
	}
	n, err := r.f.ReadAt(b[:min(int64(len(b)), r.data-r.at)], r.at)
	r.at += int64(n)
	if errors.Is(err, io.EOF) && n == 0 {
		r.short, r.hole = true, r.size
		err = nil
	}
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// look finds out whether there is data or a hole, and how much of it. Where the
// filesystem cannot tell, all is data.
func (r *sparseReader) look() {
	start, err := unix.Seek(int(r.f.Fd()), r.at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		r.hole = r.size
	case err != nil:
		r.data = r.size
	case start > r.at:
		r.hole = min(start, r.size)
	default:
		end, err := unix.Seek(int(r.f.Fd()), r.at, unix.SEEK_HOLE)
		if err != nil || end <= r.at {
			end = r.size
		}
		r.data = min(end, r.size)
	}
}
