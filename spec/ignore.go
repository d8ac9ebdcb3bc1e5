package spec

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore/gitignore"
)

// IgnoreFile is the name of the files that say which files and folders beside them
// and below have no specs. They have the syntax of .gitignore.
const IgnoreFile = ".carrelignore"

// ignore is what the ignore files of a folder and those above it say.
type ignore struct {
	patterns []gitignore.Pattern
	parts    []string // the path of what is looked at, from the top of the tree
}

// below is the walk at something in its folder.
func (w walk) below(name string) walk {
	w.parts = append(slices.Clone(w.parts), name)
	return w
}

func (i ignore) ignores(isFolder bool) bool {
	return gitignore.NewMatcher(i.patterns).Match(i.parts, isFolder)
}

// readIgnore adds what the ignore file of a folder says. When it cannot be read, it is
// not known what is left out: the folder counts as one that cannot be read.
func (w *walk) readIgnore(name, path, real string) (ok bool) {
	file := filepath.Join(real, IgnoreFile)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	before := len(w.Errors)
	name, source := filepath.Join(name, IgnoreFile), filepath.Join(path, IgnoreFile)
	if content, ok := w.ignoreFile(name, source, file); ok {
		w.addPatterns(name, content)
	}
	if ok = len(w.Errors) == before; !ok {
		w.Unread = append(w.Unread, inside(path))
	}
	return ok
}

// ignoreFile is what an ignore file has.
func (w *walk) ignoreFile(name, source, file string) (content []byte, ok bool) {
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		w.follow(source)
		w.unread(name, source, err)
		return nil, false
	}
	if target != file {
		w.follow(source)
	}
	if w.outside(target) {
		w.leadsOut(name, target)
		return nil, false
	}
	opened, ok := w.openRegular(name, source, target)
	if !ok {
		return nil, false
	}
	defer opened.Close()
	return w.content(opened, name, source)
}

// addPatterns adds the patterns of an ignore file. One that can match nothing is an
// error: what it was to leave out would be read.
func (w *walk) addPatterns(name string, content []byte) {
	w.patterns = slices.Clone(w.patterns)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(content), "\ufeff")) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if !validPattern(strings.TrimPrefix(line, "!")) {
			w.Errors.Add(Pos{File: name, Line: number, Col: 1}, "write it as in a .gitignore, such as *.tmp.yaml or old/", "%q is not a pattern", line)
		}
		w.patterns = append(w.patterns, gitignore.ParsePattern(line, w.parts))
	}
}

// validPattern reports whether the library can match with a pattern: it takes one
// that it does not understand for one that matches nothing.
func validPattern(pattern string) bool {
	inFolder := strings.Contains(strings.TrimSuffix(pattern, "/"), "/")
	for part := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(part, ""); err != nil || inFolder && part != "**" && strings.Contains(part, "**") {
			return false
		}
	}
	return true
}
