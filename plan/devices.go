package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// resolve adds a fault for every device of a workspace that the host does not
// have.
func (p *planner) resolve(s subject) {
	for i, name := range s.want.Devices {
		if _, here := p.now.Devices.Found[name]; !here {
			p.faults.Add(s.want.At(at("devices", i)), p.devices(), "this host has no device %q", name)
		}
	}
}

// devices says which devices there are, and where they were looked for.
func (p *planner) devices() string {
	names := slices.Sorted(maps.Keys(p.now.Devices.Found))
	has := "it has none"
	switch {
	case len(names) > maxNamed:
		has = fmt.Sprintf("carrel devices lists its %d", len(names))
	case len(names) > 0:
		has = "it has " + strings.Join(names, ", ")
	}
	return has + "; searched " + strings.Join(p.now.Devices.Folders, ", ")
}

// drift is the difference between what the devices of a container resolved to
// when it was made and what they do now, as after an update of a driver.
func (p *planner) drift(s subject) []Field {
	var f fields
	for _, name := range s.want.Devices {
		if was, known := s.container.Devices[name]; known {
			f.add(CostReplace, "what device "+name+" resolves to", was, p.now.Devices.Found[name])
		}
	}
	return f
}

// devicesNoted tells of devices that several workspaces name, and of CDI files
// that cannot be used, when a workspace needs any device.
func (p *planner) devicesNoted() {
	users := map[string][]string{}
	for _, w := range p.want.Workspaces {
		if w.Host != "" && w.Host != p.now.Host {
			continue
		}
		for _, name := range w.Devices {
			users[name] = append(users[name], w.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if len(users[name]) > 1 {
			p.note("device %s is given to %s: they share it", name, strings.Join(users[name], ", "))
		}
	}
	if len(users) > 0 {
		for _, warning := range p.now.Devices.Warnings {
			p.note("devices: %s", warning)
		}
	}
}
