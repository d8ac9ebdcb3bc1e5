package spec

import (
	"path/filepath"
	"strings"
)

// ArchivePrefix marks an image that is in a file on the host.
const ArchivePrefix = "oci-archive:"

// Archive is an OCI archive on the host, and which of its images is meant.
type Archive struct {
	File string // its absolute path
	Tag  string // "" when the archive has only one image
}

// Archive is the archive that has the image; false when a registry has it.
func (w Workspace) Archive() (Archive, bool) {
	text, ok := strings.CutPrefix(w.Image, ArchivePrefix)
	a := parseArchive(text)
	a.File = filepath.Clean(a.File)
	return a, ok
}

// parseArchive reads FILE or FILE:TAG, as skopeo and podman do. Two colons end a file
// whose name has a colon: FILE:: or FILE::TAG.
func parseArchive(text string) Archive {
	if i := strings.LastIndex(text, "::"); i >= 0 {
		return Archive{File: text[:i], Tag: text[i+2:]}
	}
	file, tag, _ := strings.Cut(text, ":")
	return Archive{File: file, Tag: tag}
}

// String is what specs write after the prefix.
func (a Archive) String() string {
	switch {
	case strings.Contains(a.File, ":"):
		return a.File + "::" + a.Tag
	case a.Tag != "":
		return a.File + ":" + a.Tag
	}
	return a.File
}

// archive checks an image that is in a file, and gives it its one form: relative to
// the file that has the field, which may be that of the set.
func (c checker) archive(text string) {
	a, at := parseArchive(text), c.fields.Places.At("image").File
	switch {
	case a.File == "":
		c.report("image", "write oci-archive:./file.tar", "%s names no archive", c.name("image"))
		return
	case strings.HasSuffix(text, ":") && !strings.HasSuffix(text, "::"):
		c.report("image", "write oci-archive:FILE:TAG, or leave the colon out", "%s is %q, which has no tag after its colon", c.name("image"), c.Image)
		return
	}
	if !filepath.IsAbs(a.File) && at != stdin {
		a.File = filepath.Join(filepath.Dir(at), a.File)
		c.relative = true
	}
	if absolute, err := filepath.Abs(a.File); err == nil {
		a.File = absolute
	}
	c.Image = ArchivePrefix + a.String()
}
