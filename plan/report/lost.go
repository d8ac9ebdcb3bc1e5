package report

import (
	"fmt"
	"strings"

	"carrel/plan/state"
)

// Lost is the JSON form of what was written to the root filesystem of a container,
// outside of its data and its mounts, and ends with it.
type Lost struct {
	Paths   []LostPath `json:"paths"`
	More    bool       `json:"more,omitempty"`    // there is more than was counted
	Unknown string     `json:"unknown,omitempty"` // why it is not known
}

// LostPath is the JSON form of what was written at a path.
type LostPath struct {
	Path    string `json:"path"` // of a file, or of the folder that has all of these files
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
	Deleted int    `json:"deleted,omitempty"` // files and folders of the image
	Volume  bool   `json:"volume,omitempty"`  // the image calls it a volume
}

func ofWritten(all []state.Written) *Lost {
	if len(all) == 0 {
		return nil
	}
	v := &Lost{Paths: []LostPath{}}
	for _, w := range all {
		for _, p := range w.Paths {
			v.Paths = append(v.Paths, LostPath(p))
		}
		v.More = v.More || w.More
		if v.Unknown == "" {
			v.Unknown = w.Err
		}
	}
	return v
}

// maxLost is how many paths people read; JSON has all.
const maxLost = 5

// lines is what is lost, as people read it.
func (v *Lost) lines() []string {
	if v == nil {
		return nil
	}
	var lines []string
	rest := LostPath{}
	for i, p := range v.Paths {
		if i < maxLost || len(v.Paths) == maxLost+1 {
			lines = append(lines, p.String())
			continue
		}
		rest.Files += p.Files
		rest.Bytes += p.Bytes
		rest.Deleted += p.Deleted
	}
	if len(v.Paths) > len(lines) {
		lines = append(lines, fmt.Sprintf("%d other paths (%s)", len(v.Paths)-len(lines), rest.amount()))
	}
	if v.More {
		lines = append(lines, "at least: there is more than was counted")
	}
	if v.Unknown != "" {
		lines = append(lines, "what was written outside of its data, which is not known: "+v.Unknown)
	}
	return lines
}

func (p LostPath) String() string {
	volume := ""
	if p.Volume {
		volume = "volume of the image, "
	}
	return fmt.Sprintf("%s (%s%s)", p.Path, volume, p.amount())
}

func (p LostPath) amount() string {
	var words []string
	if p.Files > 0 {
		words = append(words, count(p.Files, "file")+", "+size(p.Bytes))
	}
	if p.Deleted > 0 {
		words = append(words, count(p.Deleted, "deletion"))
	}
	return strings.Join(words, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// size is a number of bytes as people read it.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	amount, unit := float64(n)/1024, "KiB"
	for _, larger := range []string{"MiB", "GiB", "TiB"} {
		if amount < 1024 {
			break
		}
		amount, unit = amount/1024, larger
	}
	return fmt.Sprintf("%.1f %s", amount, unit)
}
