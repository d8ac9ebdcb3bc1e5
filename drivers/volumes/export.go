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

// xattrRecord is the prefix of PAX records with extended attributes, as GNU tar,
// bsdtar and libarchive write them.
const xattrRecord = "SCHILY.xattr."

// Export writes the volume of a workspace as an archive: tar in the PAX format,
// compressed with zstd, with owners, modes, times, links, devices and extended
// attributes. Holes of sparse files are not read and take little space. Sockets are
// left out. The workspace may run: Export returns the names of files that changed
// while they were read, or were deleted, and the archive is whole nevertheless.
// Progress, which may be nil, gets the bytes of files so far.
func (d *Driver) Export(ctx context.Context, workspace string, out io.Writer, progress func(done int64)) (changed []string, err error) {
	live, err := d.path(liveDir, workspace)
	if err != nil {
		return nil, err
	}
	// A Root refuses symlinks that lead out of it, even those that the workspace
	// makes while its files are read.
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

// inode identifies a file that has several hard links.
type inode struct{ dev, ino uint64 }

// exporter is one export.
type exporter struct {
	ctx      context.Context // of Export: the readers that archive/tar calls need it
	root     *os.Root        // the volume
	tar      *tar.Writer
	names    map[inode]string // the name under which a file was written first; later ones are links to it
	changed  []string         // files that changed while they were read, or were deleted
	done     int64            // bytes of files so far, for progress
	progress func(done int64)
}

// entry writes a file, or a folder with everything below it. What was deleted since it
// was listed is left out.
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

// folder writes the content of a folder. Names need not be UTF-8.
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

// file writes a regular file. Its header is made from the open file, so that both are
// of the same file.
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

// header describes an entry. Users and groups are numbers only: names may mean others
// on another host.
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

// counted reports the bytes that are read, and ends with the context.
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

// sparseReader reads exactly size bytes of a file. It does not read holes from the
// disk. Where the file has become shorter, it reads zeros.
type sparseReader struct {
	f     *os.File
	size  int64
	at    int64 // the offset of the next byte
	data  int64 // the end of the data that at is in, if it is more than at
	hole  int64 // the end of the hole that at is in, if it is more than at
	short bool  // whether the file has become shorter
}

func (r *sparseReader) Read(b []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.at >= r.data && r.at >= r.hole {
		r.find()
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
		err = nil // the next call returns it
	}
	return n, err
}

// find finds whether data or a hole is next, and where it ends. On a filesystem that
// does not know holes, everything is data.
func (r *sparseReader) find() {
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
