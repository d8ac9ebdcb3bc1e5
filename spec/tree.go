package spec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds the size of one file of specs.
const maxFile = 1 << 20

// stdin is the path that stands for standard input.
const stdin = "-"

// Tree are the files of specs below some paths, each file once.
type Tree struct {
	Files   []*File
	Errors  Errors   // of paths that could not be read, or have no spec
	Sources []string // as in Set
	Folders []string // as in Set

	// Unread are the paths that may have more files than were found, absolute:
	// they could not be read, or have no spec. Folders end in a slash, a path
	// that may be a file or a folder is there twice.
	Unread []string

	// Ignored are what .carrelignore leaves out, absolute: each path is there
	// twice, as a file, and as a folder, which ends in a slash.
	Ignored []string

	// Dangling are symlinks to nothing, absolute, which may have been folders.
	Dangling []string
}

// LeavesOut reports whether .carrelignore leaves out a file.
func (t Tree) LeavesOut(source string) bool { return within(t.Ignored, source) }

// Read finds the files below paths and parses them.
func Read(paths ...string) Tree {
	f := finder{seen: map[string]*entry{}, folders: map[string]bool{}}
	for _, path := range paths {
		f.find(path)
	}
	f.empty()
	f.Folders = slices.Sorted(maps.Keys(f.folders))
	return f.Tree
}

// finder collects the files of a Tree.
type finder struct {
	Tree
	roots   []*root
	seen    map[string]*entry // by the path without symlinks
	folders map[string]bool   // will be Folders
}

// root is one of the paths that were given.
type root struct {
	path     string
	absolute string
	folder   bool
	entries  []*entry
	wrong    bool // there may be more files
}

// entry is a file that was found. The file is nil when it could not be read.
type entry struct {
	file *File
}

// find adds the files of one path: a file, a folder, or standard input.
func (f *finder) find(path string) {
	at := &root{path: path}
	f.roots = append(f.roots, at)
	before := len(f.Errors)
	defer func() { at.wrong = len(f.Errors) > before }()
	if path == stdin {
		f.Sources = append(f.Sources, stdin)
		if f.seen[stdin] == nil {
			f.seen[stdin] = &entry{f.read(os.Stdin, stdin, stdin)}
		}
		at.entries = append(at.entries, f.seen[stdin])
		return
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		f.unread(path, path, err)
		return
	}
	at.absolute = absolute
	f.follow(absolute)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.unread(path, absolute, err)
		f.Unread = append(f.Unread, inside(absolute))
	case info.IsDir():
		at.folder = true
		f.Sources = append(f.Sources, inside(absolute))
		f.folder(at, path, absolute)
	default:
		f.Sources = append(f.Sources, absolute)
		at.entries = append(at.entries, f.open(path, absolute))
	}
}

// folder adds every spec file below a folder. Hidden ones are left out, and those
// that a .carrelignore names.
func (f *finder) folder(at *root, name, absolute string) {
	top, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		f.unread(name, inside(absolute), err)
		return
	}
	walk{finder: f, at: at, top: top, visited: map[string]bool{}}.folder(name, absolute, top)
}

// walk goes through one tree of folders.
type walk struct {
	*finder
	at      *root
	top     string          // of the tree, without symlinks
	visited map[string]bool // folders, without symlinks
	ignore
}

func (w walk) folder(name, path, real string) {
	if w.visited[real] {
		return
	}
	w.visited[real] = true
	entries, err := os.ReadDir(real)
	if err != nil {
		w.unread(name, inside(path), err)
		return
	}
	w.folders[real] = true
	if !w.readIgnore(name, path, real) {
		return
	}
	for _, entry := range entries {
		name, path := filepath.Join(name, entry.Name()), filepath.Join(path, entry.Name())
		w := w.below(entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case w.ignores(entry.IsDir()):
			w.Ignored = append(w.Ignored, path, inside(path))
		case entry.Type()&fs.ModeSymlink != 0:
			w.link(name, path)
		case entry.IsDir():
			w.folder(name, path, filepath.Join(real, entry.Name()))
		case isSpec(entry.Name()):
			w.at.entries = append(w.at.entries, w.open(name, path))
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
			w.unread(name, path, err)
		} else {
			w.Dangling = append(w.Dangling, path)
		}
		return
	}
	info, err := os.Stat(target)
	if err != nil {
		w.unread(name, path, err)
		w.Unread = append(w.Unread, inside(path))
		return
	}
	if !info.IsDir() && !isSpec(path) {
		return
	}
	w.follow(path)
	switch {
	case w.outside(target):
		w.leadsOut(name, target)
		w.Unread = append(w.Unread, path, inside(path))
	case !info.IsDir():
		w.at.entries = append(w.at.entries, w.open(name, path))
	case target != w.top && hidden(strings.TrimPrefix(target, inside(w.top))):
		w.folder(name, path, target)
	}
	// A folder that is not hidden is found without the link.
}

// outside reports whether a path without symlinks is not in the tree.
func (w walk) outside(target string) bool {
	return target != w.top && !strings.HasPrefix(target, inside(w.top))
}

func (w walk) leadsOut(name, target string) {
	w.Errors.Add(Pos{File: name}, "copy it into the folder", "this link leads out of the folder that is loaded, to %s", target)
}

// hidden reports whether a path below a tree is in a hidden folder. Kubernetes
// keeps what it mounts in such a folder, with links to it.
func hidden(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return strings.HasPrefix(part, ".") })
}

// open is the file at a path.
func (f *finder) open(name, path string) *entry {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		f.unread(name, path, err)
		return &entry{}
	}
	e := f.seen[real]
	switch {
	case e == nil:
		e = &entry{f.openOnce(name, path, real)}
		f.seen[real] = e
	case e.file != nil:
		e.file.Also = append(e.file.Also, path)
	default:
		f.Unread = append(f.Unread, path)
	}
	return e
}

// openOnce reads a file, whose path without symlinks is real. It is nil when the
// file cannot be read.
func (f *finder) openOnce(name, path, real string) *File {
	opened, ok := f.openRegular(name, path, real)
	if !ok {
		return nil
	}
	defer opened.Close()
	return f.read(opened, name, path)
}

// openRegular opens a file that is neither a folder nor a pipe.
func (f *finder) openRegular(name, path, real string) (opened *os.File, ok bool) {
	info, err := os.Stat(real)
	if err == nil && !info.Mode().IsRegular() {
		f.Unread = append(f.Unread, path)
		f.Errors.Add(Pos{File: name}, "write - to load from standard input", "not a file that can be read as a spec")
		return nil, false
	}
	if err == nil {
		opened, err = os.Open(real)
	}
	if err != nil {
		f.unread(name, path, err)
		return nil, false
	}
	return opened, true
}

func (f *finder) read(r io.Reader, name, source string) *File {
	content, ok := f.content(r, name, source)
	if !ok {
		return nil
	}
	file := Parse(name, source, content)
	f.Files = append(f.Files, file)
	return file
}

// content is what a file has.
func (f *finder) content(r io.Reader, name, source string) (content []byte, ok bool) {
	content, err := ReadFile(r, name)
	var wrong Error
	switch {
	case err == nil, errors.As(err, &wrong) && otherJSON(name, content): // however large that is
		return content, true
	case errors.As(err, &wrong):
		f.Unread = append(f.Unread, source)
		f.Errors = append(f.Errors, wrong)
	default:
		f.unread(name, source, err)
	}
	return nil, false
}

// ReadFile reads a file that people write. One that is too large is an Error.
func ReadFile(r io.Reader, name string) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = Error{Pos: Pos{File: name}, Msg: fmt.Sprintf("larger than %d MiB", maxFile>>20), Hint: "split it into several files"}
	}
	return content, err
}

// empty reports the paths that have no spec: the files may be missing, and what
// they described must not be deleted.
func (f *finder) empty() {
	for _, at := range f.roots {
		documents, wrong := 0, at.wrong
		for _, e := range at.entries {
			wrong = wrong || e.file == nil || !e.file.complete
			if e.file != nil {
				documents += e.file.Documents
			}
		}
		if documents > 0 || wrong {
			continue
		}
		hint := "write a document of kind Workspace or WorkspaceSet"
		if at.folder {
			hint = "a folder of specs has files that end in .yaml, .yml or .json; to delete every workspace of a set, keep the file with its WorkspaceSet"
		}
		f.Errors.Add(Pos{File: at.path}, hint, "no spec was found: nothing is deleted")
		f.Unread = append(f.Unread, at.absolute, inside(at.absolute))
	}
}

// unread reports that a path cannot be read. The place of the error has the
// path, so the message of the system is used without it.
func (f *finder) unread(name, path string, err error) {
	f.Unread = append(f.Unread, path)
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		err = inPath.Err
	}
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		hint = "check the path"
	}
	f.Errors.Add(Pos{File: name}, hint, "%s", strings.TrimPrefix(err.Error(), "EvalSymlinks: "))
}

// isSpec reports whether a file in a folder may have specs.
func isSpec(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(filepath.Base(name), ".")
	}
	return false
}

// inside is a folder with the slash that the paths in it begin with.
func inside(folder string) string { return strings.TrimSuffix(folder, "/") + "/" }
