package images

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The limits of what is kept of an archive: its index, and the documents in it that
// say for which platforms an image is.
const (
	maxIndex     = 1 << 20
	maxDocument  = 1 << 20
	maxDocuments = 16 << 20 // of one archive
)

// contents are the images of an archive, as far as choosing one of them needs it.
type contents struct {
	index     ocispec.Index
	documents map[digest.Digest][]byte // manifests and the like
}

// scans remember what is in compressed archives, which have to be read as a whole.
type scans struct {
	mu   sync.Mutex
	seen map[string]scanned // by path
}

type scanned struct {
	file     fingerprint
	contents contents
}

// fingerprint tells whether a file is still the one that was read.
type fingerprint struct {
	device, inode     uint64
	size              int64
	modified, changed syscall.Timespec
}

func fingerprintOf(info os.FileInfo) fingerprint {
	f := fingerprint{size: info.Size()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		f.device, f.inode, f.modified, f.changed = s.Dev, s.Ino, s.Mtim, s.Ctim
	}
	return f
}

// scan finds out what is in an archive: an OCI image layout in a tar file, which may
// be compressed. Layers are not read, except to get past them in a compressed one.
func (s *scans) scan(ctx context.Context, file string) (contents, error) {
	archive, err := openArchive(file)
	if err != nil {
		return contents{}, err
	}
	defer archive.Close()
	if !archive.compressed {
		return readContents(archive.Reader)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.seen[file]; ok && known.file == archive.fingerprint {
		return known.contents, nil
	}
	found, err := readContents(inTime(ctx, archive.Reader))
	if err == nil {
		if s.seen == nil {
			s.seen = map[string]scanned{}
		}
		s.seen[file] = scanned{archive.fingerprint, found}
	}
	return found, err
}

func readContents(archive io.Reader) (contents, error) {
	all := contents{documents: map[digest.Digest][]byte{}}
	kept, found := 0, false
	for entries, first := tar.NewReader(archive), true; ; first = false {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) && found {
			return all, nil
		}
		if errors.Is(err, io.EOF) {
			return all, errors.New("it is not an OCI archive: it has no index.json (docker save of version 25 on, and skopeo, write one)")
		}
		if err == nil {
			switch name := path.Clean(entry.Name); {
			case name == ocispec.ImageIndexFile:
				all.index, err = readIndex(entries)
				found = true
			case entry.Size <= maxDocument && kept <= maxDocuments:
				var size int
				size, err = all.keep(name, entries)
				kept += size
			}
		}
		if err != nil {
			return all, notAnArchive(err, first)
		}
	}
}

// notAnArchive says why an archive cannot be read, perhaps not even its first entry.
func notAnArchive(err error, first bool) error {
	var late *lateError
	switch {
	case errors.As(err, &late):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF) && !first:
		return errors.New("it ends in the middle (copy or write it again)")
	}
	return fmt.Errorf("it is not an OCI archive: %w", err)
}

func readIndex(r io.Reader) (index ocispec.Index, err error) {
	if err := json.NewDecoder(io.LimitReader(r, maxIndex)).Decode(&index); err != nil {
		return index, fmt.Errorf("its index.json: %w", err)
	}
	for _, m := range index.Manifests {
		if err := m.Digest.Validate(); err != nil {
			return index, fmt.Errorf("its index.json: digest: %w", err)
		}
	}
	return index, nil
}

// keep remembers a small blob when it may be a document: layers begin otherwise.
func (c *contents) keep(name string, r io.Reader) (size int, err error) {
	algorithm, hex, ok := strings.Cut(strings.TrimPrefix(name, ocispec.ImageBlobsDir+"/"), "/")
	if !ok || !strings.HasPrefix(name, ocispec.ImageBlobsDir+"/") {
		return 0, nil
	}
	buffered := bufio.NewReader(r)
	if first, err := buffered.Peek(1); err != nil || first[0] != '{' {
		return 0, nil // if it cannot be read, the next entry tells
	}
	text, err := io.ReadAll(buffered)
	c.documents[digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex)] = text
	return len(text), err
}

// archiveFile is an archive that is read as a plain tar file.
type archiveFile struct {
	io.Reader
	io.Closer
	compressed  bool
	fingerprint fingerprint
}

// openArchive opens a tar file, plain or compressed with gzip or zstd. The error does
// not have its name.
func openArchive(file string) (*archiveFile, error) {
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Err: errors.New("it is not a file (write the path of a tar file)")}
	}
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	a, err := decompressed(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a.fingerprint = fingerprintOf(info)
	return a, nil
}

// decompressed reads a file whose first bytes say how it is compressed. A plain one
// is read without a buffer, so that layers are skipped.
func decompressed(f *os.File) (*archiveFile, error) {
	magic := make([]byte, 6)
	n, err := f.ReadAt(magic, 0)
	if magic = magic[:n]; err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	begins := func(with string) bool { return bytes.HasPrefix(magic, []byte(with)) }
	switch {
	case n == 0:
		return nil, errors.New("it is empty")
	case begins("\x1f\x8b"):
		plain, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
		if err != nil {
			return nil, notAnArchive(err, true)
		}
		return &archiveFile{Reader: plain, Closer: f, compressed: true}, nil
	case begins("\x28\xb5\x2f\xfd"):
		plain, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		return &archiveFile{Reader: plain, Closer: closers{plain.IOReadCloser(), f}, compressed: true}, nil
	case begins("\xfd7zXZ\x00"), begins("BZh"):
		return nil, errors.New("it is compressed with xz or bzip2 (unpack it, or use gzip or zstd)")
	}
	return &archiveFile{Reader: f, Closer: f}, nil
}

type closers []io.Closer

func (all closers) Close() error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// inTime is a compressed archive that may take half of the time that is left, so that
// a large one does not stop the observation of everything else.
func inTime(ctx context.Context, r io.Reader) io.Reader {
	limited := &timed{Reader: r, ctx: ctx}
	if deadline, ok := ctx.Deadline(); ok {
		limited.deadline = time.Now().Add(time.Until(deadline) / 2)
	}
	return limited
}

type timed struct {
	io.Reader
	ctx      context.Context
	deadline time.Time // zero is none
}

func (t *timed) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	if !t.deadline.IsZero() && time.Now().After(t.deadline) {
		return 0, &lateError{}
	}
	return t.Reader.Read(p)
}

// lateError is a compressed archive whose reading takes too long.
type lateError struct{}

func (*lateError) Error() string {
	return "it is compressed, and finding its images takes too long (unpack it: a plain tar file is read at once)"
}
