package volumes

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"carrel/plan"
)

// The limits of an archive. A larger one is refused: it may be made to fill the disk.
const (
	maxEntries = 10_000_000
	maxLogical = 64 << 40  // bytes of all files, holes included
	maxWindow  = 128 << 20 // bytes of zstd's window, which is memory
)

// ExtractData unpacks an archive next to the volumes: tar, plain or compressed with
// zstd or gzip. It refuses an archive that would write elsewhere, is not whole, or
// needs more space than there is, and then leaves nothing of it.
func (d *Driver) ExtractData(ctx context.Context, s plan.ExtractData) error {
	partial, err := d.extracted(s.Workspace)
	if err != nil {
		return err
	}
	f, err := os.Open(s.File)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return err
	}
	err = extract(ctx, f, partial)
	if err == nil {
		err = sync(partial)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("archive %s: %w", s.File, err), os.RemoveAll(partial))
	}
	return nil
}

// PlaceData makes the unpacked archive the volume of its workspace.
func (d *Driver) PlaceData(_ context.Context, s plan.PlaceData) error {
	partial, err := d.extracted(s.Workspace)
	if err != nil {
		return err
	}
	live, err := d.path(liveDir, s.Workspace)
	if err != nil {
		return err
	}
	_, partialErr := os.Lstat(partial)
	if _, err := os.Lstat(live); err == nil && errors.Is(partialErr, fs.ErrNotExist) {
		return nil
	}
	return move(partial, live)
}

// extracted is where an archive for a workspace is unpacked. No workspace has a name
// with a dot.
func (d *Driver) extracted(workspace string) (string, error) {
	partial, err := d.path(partialDir, workspace)
	return partial + ".import", err
}

// extract unpacks an archive into an empty folder.
func extract(ctx context.Context, archive io.Reader, folder string) error {
	room, err := free(filepath.Dir(folder))
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	plain, err := decompressed(archive)
	if err != nil {
		return err
	}
	defer plain.Close()
	stream := &position{ctx: ctx, Reader: plain}
	x := &extractor{root: root, tar: tar.NewReader(stream), room: room}
	for {
		before := stream.at
		h, err := x.tar.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(whole(stream, before), x.finish())
		}
		if before == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it is cut short, or not a tar archive (make it again, or copy it again)")
		}
		if err == nil {
			err = x.entry(h)
		}
		if err != nil {
			return notWhole(err)
		}
	}
}

// decompressed reads an archive, whose first bytes say how it is compressed.
func decompressed(archive io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(archive, 1<<20)
	magic, err := buffered.Peek(4)
	if err != nil {
		return nil, errors.New("it is not a tar archive")
	}
	switch {
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bytes.Equal(magic[:2], []byte{0x1f, 0x8b}):
		return gzip.NewReader(buffered)
	}
	return io.NopCloser(buffered), nil
}

// position is a stream that counts what was read, and that ends with the context.
type position struct {
	ctx context.Context
	io.Reader
	at int64
}

func (p *position) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, p.ctx.Err()
	}
	n, err := p.Reader.Read(b)
	p.at += int64(n)
	return n, err
}

// whole checks that an archive has its end: two blocks of zeros after the last entry,
// and nothing but zeros after them. Before is the offset where the content of the
// last entry ended.
func whole(stream *position, before int64) error {
	const block = 512
	padded := (before + block - 1) / block * block
	if stream.at < padded+2*block {
		return notWhole(io.ErrUnexpectedEOF)
	}
	rest := make([]byte, 32<<10)
	for {
		n, err := stream.Read(rest)
		if len(bytes.Trim(rest[:n], "\x00")) > 0 {
			return errors.New("something follows its end (it was appended to, or is damaged)")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return notWhole(err)
		}
	}
}

// notWhole translates the errors of readers of archives.
func notWhole(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("it is cut short (make it again, or copy it again)")
	case errors.Is(err, tar.ErrHeader):
		return errors.New("it is damaged, or not a tar archive")
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, gzip.ErrHeader):
		return fmt.Errorf("it is damaged (make it again, or copy it again): %w", err)
	}
	return err
}
