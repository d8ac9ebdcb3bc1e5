package spec

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symlinks one path may lead through, as for the system.
const maxLinks = 255

// follow notes the folders where a change can make an absolute path lead to
// something else: those of every symlink on its way, and the one of what it
// leads to. For a path that leads to nothing it is the last folder on its way.
func (f *finder) follow(path string) {
	at, rest, links := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		next := filepath.Join(at, part) // at has no symlinks, so .. is what is above it
		info, err := os.Lstat(next)
		switch {
		case err != nil:
			f.folders[at] = true
			return
		case info.Mode()&fs.ModeSymlink != 0:
			f.folders[at] = true
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return
			}
			rest = append(strings.Split(target, "/"), rest...)
			if filepath.IsAbs(target) {
				at = "/"
			}
		case info.IsDir():
			at = next
		default: // a file, wherever the path goes on from here
			f.folders[at] = true
			return
		}
	}
	f.folders[at] = true
}
