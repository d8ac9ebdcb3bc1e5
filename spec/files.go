package spec

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds the size of one file of specs.
const maxFile = 1 << 20

// stdin is the path that stands for standard input.
const stdin = "-"

// file is one file of specs: its name as a person gave it, its absolute path,
// and its content.
type file struct {
	name    string
	source  string
	content []byte
}

// finder collects the files below paths, each once.
type finder struct {
	files   []file
	sources []string
	seen    map[string]bool // by the path without symlinks
	faults  *Errors
}

// find adds the files of one path: a file, a folder, or standard input.
func (f *finder) find(path string) {
	if path == stdin {
		f.sources = append(f.sources, stdin)
		f.read(os.Stdin, stdin, stdin)
		return
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		f.fault(path, err)
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.fault(path, err)
	case info.IsDir():
		f.sources = append(f.sources, strings.TrimSuffix(absolute, "/")+"/")
		f.folder(path, absolute)
	default:
		f.sources = append(f.sources, absolute)
		f.open(path, absolute)
	}
}

// folder adds every spec file below a folder. Hidden ones are left out.
func (f *finder) folder(root, absolute string) {
	real, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		f.fault(root, err)
		return
	}
	err = filepath.WalkDir(real, func(path string, entry fs.DirEntry, err error) error {
		below, relErr := filepath.Rel(real, path)
		if err == nil {
			err = relErr
		}
		name := filepath.Join(root, below)
		switch {
		case err != nil:
			f.fault(name, err)
			return nil
		case below != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type()&fs.ModeSymlink != 0:
			f.link(name, filepath.Join(absolute, below), real)
		case !entry.IsDir() && isSpec(entry.Name()):
			f.open(name, filepath.Join(absolute, below))
		}
		return nil
	})
	if err != nil {
		f.fault(root, err)
	}
}

// link adds the spec file that a symlink in a tree points to. What it points
// to must be in the tree, or a spec could bring in any file of the host. A
// folder in the tree is found without its links.
func (f *finder) link(name, path, root string) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		if isSpec(path) {
			f.fault(name, err)
		}
		return
	}
	info, err := os.Stat(target)
	if err != nil {
		f.fault(name, err)
		return
	}
	if !info.IsDir() && !isSpec(path) {
		return
	}
	if !strings.HasPrefix(target, root+"/") {
		f.faults.Add(Pos{File: name}, "copy it into the folder", "this link leads out of the folder that is loaded, to %s", target)
		return
	}
	if !info.IsDir() {
		f.open(name, path)
	}
}

func (f *finder) open(name, path string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		f.fault(name, err)
		return
	}
	if f.seen[real] {
		return
	}
	f.seen[real] = true
	info, err := os.Stat(real)
	if err != nil {
		f.fault(name, err)
		return
	}
	if !info.Mode().IsRegular() {
		f.faults.Add(Pos{File: name}, "", "not a file that can be read as a spec")
		return
	}
	opened, err := os.Open(real)
	if err != nil {
		f.fault(name, err)
		return
	}
	defer opened.Close()
	f.read(opened, name, path)
}

func (f *finder) read(r io.Reader, name, source string) {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		f.fault(name, err)
		return
	}
	if len(content) > maxFile {
		f.faults.Add(Pos{File: name}, "split it into several files", "larger than %d MiB", maxFile>>20)
		return
	}
	f.files = append(f.files, file{name: name, source: source, content: content})
}

// fault reports what the system says about a file, without the path that it
// says it of: the place has it.
func (f *finder) fault(name string, err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		hint = "check the path"
	}
	f.faults.Add(Pos{File: name}, hint, "%s", err)
}

func isSpec(name string) bool {
	base := filepath.Base(name)
	return !strings.HasPrefix(base, ".") && (strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml"))
}
