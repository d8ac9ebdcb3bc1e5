// Package disk says what the filesystem of a path has left, for errors of a write
// that found no room.
package disk

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// little is how much room counts as none: SQLite needs a few pages at once.
const little = 1 << 20

// Full reports whether an error is that of a filesystem that takes nothing more: it
// has no room or no inodes, a quota is used up, or it can only be read.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// Left says which filesystem takes nothing more, what it has left, and what to do. It is "" when
// the one that has the path, or is to have it, has room.
func Left(path string) string {
	var s unix.Statfs_t
	for unix.Statfs(path, &s) != nil {
		above := filepath.Dir(path)
		if above == path {
			return ""
		}
		path = above
	}
	room, at := int64(s.Bavail)*s.Bsize, mountPoint(path)
	switch {
	case s.Flags&unix.ST_RDONLY != 0:
		return fmt.Sprintf("the filesystem at %s is read-only (mount it for writing)", at)
	case s.Files > 0 && s.Ffree == 0:
		return fmt.Sprintf("the filesystem at %s has no inodes left: all %d are in use (delete files there)", at, s.Files)
	case room < little:
		return fmt.Sprintf("the filesystem at %s is full: %s of %s left (make room there)", at, units.BytesSize(float64(room)), units.BytesSize(float64(int64(s.Blocks)*s.Bsize)))
	}
	return ""
}

// mountPoint is the highest folder above a path that is on the same filesystem.
func mountPoint(path string) string {
	path, err := filepath.Abs(path)
	var at, above unix.Stat_t
	for err == nil && path != "/" && unix.Stat(path, &at) == nil && unix.Stat(filepath.Dir(path), &above) == nil &&
		(at.Dev == above.Dev || at.Mode&unix.S_IFMT != unix.S_IFDIR) {
		path = filepath.Dir(path)
	}
	return path
}
