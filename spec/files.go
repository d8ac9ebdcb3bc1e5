package spec

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds the size of one file of specs.
const maxFile = 1 << 20

// stdin is the path that stands for standard input.
const stdin = "-"

// file is one file of specs: its name as a person gave it, its absolute path,
// and its content.
type file struct {
	name      string
	source    string
	also      []string // other absolute paths that lead to it
	content   []byte
	documents int  // how many it has
	faulty    bool // there may be more
	unread    bool
}

// place is one of the paths that were given, and the files that it stands for.
type place struct {
	path     string
	absolute string
	folder   bool
	files    []*file
	faulty   bool // there may be more files
}

// finder collects the files below paths, each once.
type finder struct {
	places  []*place
	files   []*file // those that were read
	sources []string
	seen    map[string]*file // by the path without symlinks
	faults  *Errors

	unread   []string        // what could not be read, absolute; folders end in a slash
	dangling []entry         // links to nothing, which may have been folders
	folders  map[string]bool // where a change shows, without symlinks
}

// entry is something in a folder: its name as a person gave it, and its
// absolute path.
type entry struct{ name, path string }

func newFinder(faults *Errors) finder {
	return finder{seen: map[string]*file{}, folders: map[string]bool{}, faults: faults}
}

// find adds the files of one path: a file, a folder, or standard input.
func (f *finder) find(path string) {
	at := &place{path: path}
	f.places = append(f.places, at)
	before := len(*f.faults)
	defer func() { at.faulty = len(*f.faults) > before }()
	if path == stdin {
		f.sources = append(f.sources, stdin)
		if f.seen[stdin] == nil {
			f.seen[stdin] = f.read(os.Stdin, stdin, stdin)
		}
		at.add(f.seen[stdin])
		return
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		f.fault(path, path, err)
		return
	}
	at.absolute = absolute
	f.follow(absolute)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.fault(path, absolute, err)
		f.unread = append(f.unread, inside(absolute))
	case info.IsDir():
		at.folder = true
		f.sources = append(f.sources, inside(absolute))
		f.folder(at, path, absolute)
	default:
		f.sources = append(f.sources, absolute)
		at.add(f.open(path, absolute))
	}
}

func (p *place) add(found *file) {
	if found != nil {
		p.files = append(p.files, found)
	}
}

// folder adds every spec file below a folder. Hidden ones are left out.
func (f *finder) folder(at *place, name, absolute string) {
	root, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		f.fault(name, inside(absolute), err)
		return
	}
	walk{f, at, root, map[string]bool{}}.folder(name, absolute, root)
}

// walk goes through one tree of folders.
type walk struct {
	*finder
	at      *place
	root    string // the tree, without symlinks
	visited map[string]bool
}

func (w walk) folder(name, path, real string) {
	if w.visited[real] {
		return
	}
	w.visited[real] = true
	entries, err := os.ReadDir(real)
	if err != nil {
		w.fault(name, inside(path), err)
		return
	}
	w.folders[real] = true
	for _, entry := range entries {
		name, path := filepath.Join(name, entry.Name()), filepath.Join(path, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case entry.Type()&fs.ModeSymlink != 0:
			w.link(name, path)
		case entry.IsDir():
			w.folder(name, path, filepath.Join(real, entry.Name()))
		case isSpec(entry.Name()):
			w.at.add(w.open(name, path))
		}
	}
}

// link adds what a symlink in a tree points to. That must be in the tree, or a
// spec could bring in any file of the host.
func (w walk) link(name, path string) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		w.follow(path)
		if isSpec(path) {
			w.fault(name, path, err)
		} else {
			w.dangling = append(w.dangling, entry{name, path})
		}
		return
	}
	info, err := os.Stat(target)
	if err != nil {
		w.fault(name, path, err)
		w.unread = append(w.unread, inside(path))
		return
	}
	if !info.IsDir() && !isSpec(path) {
		return
	}
	w.follow(path)
	below, err := filepath.Rel(w.root, target)
	switch {
	case err != nil || below == ".." || strings.HasPrefix(below, "../"):
		w.faults.Add(Pos{File: name}, "copy it into the folder", "this link leads out of the folder that is loaded, to %s", target)
		w.unread = append(w.unread, path, inside(path))
	case !info.IsDir():
		w.at.add(w.open(name, path))
	case below != "." && hidden(below):
		w.folder(name, path, target)
	}
	// A folder that is not hidden is found without the link.
}

// hidden reports whether a path below a tree is in a hidden folder. Kubernetes
// keeps what it mounts in such a folder, with links to it.
func hidden(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return strings.HasPrefix(part, ".") })
}

// open is a file, nil when it cannot be read.
func (f *finder) open(name, path string) *file {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		f.fault(name, path, err)
		return nil
	}
	if before, ok := f.seen[real]; ok {
		before.also = append(before.also, path)
		if before.unread {
			f.unread = append(f.unread, path)
		}
		return before
	}
	f.seen[real] = &file{faulty: true, unread: true}
	info, err := os.Stat(real)
	if err != nil {
		f.fault(name, path, err)
		return nil
	}
	if !info.Mode().IsRegular() {
		f.unread = append(f.unread, path)
		f.faults.Add(Pos{File: name}, "write - to load from standard input", "not a file that can be read as a spec")
		return nil
	}
	opened, err := os.Open(real)
	if err != nil {
		f.fault(name, path, err)
		return nil
	}
	defer opened.Close()
	if read := f.read(opened, name, path); read != nil {
		f.seen[real] = read
	}
	return f.seen[real]
}

func (f *finder) read(r io.Reader, name, source string) *file {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		f.fault(name, source, err)
		return nil
	}
	if len(content) > maxFile {
		f.unread = append(f.unread, source)
		f.faults.Add(Pos{File: name}, "split it into several files", "larger than %d MiB", maxFile>>20)
		return nil
	}
	read := &file{name: name, source: source, content: content}
	f.files = append(f.files, read)
	return read
}

// empty reports the paths that have no spec: something is missing there, and
// what it described must not be taken as deleted.
func (f *finder) empty() (found []*place) {
	for _, p := range f.places {
		documents, faulty := 0, p.faulty
		for _, file := range p.files {
			documents += file.documents
			faulty = faulty || file.faulty
		}
		if documents > 0 || faulty {
			continue
		}
		hint := "write a document of kind Workspace or WorkspaceSet"
		if p.folder {
			hint = "a folder of specs has files that end in .yaml or .yml; one that shall have no workspace keeps its WorkspaceSet"
		}
		f.faults.Add(Pos{File: p.path}, hint, "no spec was found: nothing is taken as deleted")
		found = append(found, p)
	}
	return found
}

// fault reports what the system says about a file, without the path that it
// says it of: the place has it.
func (f *finder) fault(name, source string, err error) {
	f.unread = append(f.unread, source)
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		hint = "check the path"
	}
	f.faults.Add(Pos{File: name}, hint, "%s", strings.TrimPrefix(err.Error(), "EvalSymlinks: "))
}

func isSpec(name string) bool {
	base := filepath.Base(name)
	return !strings.HasPrefix(base, ".") && (strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml"))
}

// inside is a folder as the start of the paths in it.
func inside(folder string) string { return strings.TrimSuffix(folder, "/") + "/" }
