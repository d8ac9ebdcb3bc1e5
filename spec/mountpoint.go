package spec

import (
	"fmt"
	"path"
	"strings"
)

// MountPoint is a path of the host that must exist, because something is mounted
// there: in the source of a mount that is read-only, nothing can be made.
type MountPoint struct {
	Field  string // that is mounted there: "dataPath" or "mounts[0].target"
	Target string // its value
	Within Mount
	Path   string // on the host
}

// MountPoints are those that a workspace needs. The innermost mount around a target
// counts.
func (w Workspace) MountPoints() []MountPoint {
	around := append([]Mount{{Target: w.DataPath}}, w.Mounts...)
	var all []MountPoint
	for i, m := range around {
		field := "dataPath"
		if i > 0 {
			field = fmt.Sprintf("mounts[%d].target", i-1)
		}
		var within Mount
		for _, o := range around {
			if strings.HasPrefix(m.Target, o.Target+"/") && len(o.Target) > len(within.Target) {
				within = o
			}
		}
		if within.ReadOnly {
			below := strings.TrimPrefix(m.Target, within.Target)
			all = append(all, MountPoint{field, m.Target, within, path.Join(within.Source, below)})
		}
	}
	return all
}
