package spec

import (
	"fmt"
	"slices"
	"strings"
)

// Conflict is a contradiction between two workspaces of one set: they have the
// same name, both are renamed from one workspace, one is renamed from the other, or
// they have ports that one host cannot publish both.
type Conflict struct {
	First, Second     int   // in the list of workspaces
	AtFirst, AtSecond Error // the same error, at the place of either
}

// Conflicts are those between the workspaces of a list. Of several of one
// workspace, at least one is found.
func Conflicts(workspaces []Workspace) []Conflict {
	found, unique := sameNames(workspaces)
	// By name, so that the order of the files does not matter.
	slices.SortFunc(unique, func(a, b int) int { return strings.Compare(workspaces[a].Name, workspaces[b].Name) })
	found = append(found, renames(workspaces, unique)...)
	taken := map[portKey][]port{}
	for _, i := range unique {
		for n, p := range workspaces[i].Network.Ports {
			wanted := port{i, &workspaces[i], fmt.Sprintf("network.ports[%d].host", n), p}
			if p.Host == 0 { // it has an error
				continue
			}
			key := portKey{p.Host, p.Protocol}
			if at := slices.IndexFunc(taken[key], wanted.meets); at >= 0 {
				found = append(found, wanted.conflict(taken[key][at]))
			}
			taken[key] = append(taken[key], wanted)
		}
	}
	return found
}

// sameNames are the conflicts of workspaces with one name, and the first
// workspace of each name.
func sameNames(workspaces []Workspace) (found []Conflict, unique []int) {
	first := make(map[string]int, len(workspaces))
	for i, w := range workspaces {
		before, twice := first[w.Name]
		if !twice {
			first[w.Name] = i
			unique = append(unique, i)
			continue
		}
		at, there := w.At("metadata.name"), workspaces[before].At("metadata.name")
		found = append(found, Conflict{before, i, describedTwice(w.Name, there, "also", at), describedTwice(w.Name, at, "first", there)})
	}
	return found, unique
}

func describedTwice(name string, at Pos, where string, other Pos) Error {
	return Error{
		Pos:  at,
		Msg:  fmt.Sprintf("workspace %s is described twice, %s at %s", name, where, other),
		Hint: "give one of them another name",
	}
}

// renames are the conflicts of workspaces that are renamed: the one that each was
// before must not be described any more, and must be no other's.
func renames(workspaces []Workspace, unique []int) (found []Conflict) {
	described, taken := map[string]int{}, map[string]int{}
	for _, i := range unique {
		described[workspaces[i].Name] = i
	}
	for _, i := range unique {
		w := &workspaces[i]
		old := w.RenamedFrom
		if old == "" || old == w.Name { // then it has an error
			continue
		}
		if before, still := described[old]; still {
			found = append(found, renamedTwice(before, i, workspaces, "metadata.name",
				"workspace %s is renamed from %s, which is described too, at %s"))
		}
		if before, twice := taken[old]; twice {
			found = append(found, renamedTwice(before, i, workspaces, "metadata.renamedFrom",
				"workspace %s is renamed from %s, and so is the one at %s"))
		}
		taken[old] = i
	}
	return found
}

// renamedTwice is the conflict of a workspace that is renamed with another one, and
// with what stands at a path of that.
func renamedTwice(first, second int, workspaces []Workspace, path, msg string) Conflict {
	w := workspaces[second]
	at, there := w.At("metadata.renamedFrom"), workspaces[first].At(path)
	err := Error{Pos: at, Msg: fmt.Sprintf(msg, w.Name, w.RenamedFrom, there), Hint: "take one of the two out"}
	other := Error{Pos: there, Msg: fmt.Sprintf("workspace %s, at %s, is renamed from %s", w.Name, at, w.RenamedFrom), Hint: err.Hint}
	return Conflict{first, second, other, err}
}

// port is one that a workspace publishes on its host.
type port struct {
	index int // of the workspace
	w     *Workspace
	path  string
	Port
}

// portKey is what ports that meet have in common.
type portKey struct {
	number   int
	protocol string
}

// meets reports whether two ports cannot both be published. Workspaces that name
// different hosts do not meet.
func (p port) meets(o port) bool {
	otherHost := p.w.Host != "" && o.w.Host != "" && p.w.Host != o.w.Host
	return !otherHost && p.Meets(o.Port)
}

func (p port) conflict(by port) Conflict {
	return Conflict{by.index, p.index, by.taken(p), p.taken(by)}
}

// taken is the error of a port that another workspace wants too.
func (p port) taken(by port) Error {
	return Error{
		Pos:  p.w.At(p.path),
		Msg:  fmt.Sprintf("port %d/%s of the host is wanted by %s too, at %s", p.Host, p.Protocol, by.w.Name, by.w.At(by.path)),
		Hint: "choose another port",
	}
}

// OnHost is the port of the host, as messages have it.
func (p Port) OnHost() string {
	at := ""
	switch {
	case strings.Contains(p.HostIP, ":"):
		at = "[" + p.HostIP + "]:"
	case p.HostIP != "":
		at = p.HostIP + ":"
	}
	return fmt.Sprintf("%s%d/%s", at, p.Host, p.Protocol)
}

// Meets reports whether one host cannot publish both ports. An empty address is
// every address.
func (p Port) Meets(o Port) bool {
	otherIP := p.HostIP != "" && o.HostIP != "" && p.HostIP != o.HostIP
	return p.Host == o.Host && p.Protocol == o.Protocol && !otherIP
}
