package plan

import (
	"fmt"
	"strings"
	"time"

	"carrel/plan/state"
	"carrel/spec"
)

// Step is one call to one driver: everything carrel can do to the world.
// Every step is safe to repeat, and leaves a mark that the next observation
// sees. Nothing flows between steps: ids are names that the plan chose.
//
//sumtype:decl
type Step interface {
	// String is the step's only wording: plan, progress, JSON, log and error
	// all print it.
	String() string
	step()
}

// PullImage fetches an image from its registry into containerd.
type PullImage struct {
	Image string // as the spec writes it, normalised
}

// ImportImage puts an OCI archive of the host into containerd.
type ImportImage struct {
	Path   string // absolute
	Digest string // of the archive's manifest or index when it was planned
	Name   string // in containerd's image store
}

// CreateVolume makes the data folder of a workspace, with what the image has
// at the data path. A volume that exists is left as it is.
type CreateVolume struct {
	Workspace string
	Image     string // the name in containerd's image store
	DataPath  string
	User      string // the spec's; "" is the image's
}

// RestoreData makes preserved data the volume of its workspace again.
type RestoreData struct {
	Workspace string
	Set       string // whose it is
	At        time.Time
}

// PreserveData takes the volume of a workspace out of use, and keeps it.
type PreserveData struct {
	Workspace string
	Set       string    // whose it is
	At        time.Time // under which it is kept
}

// MigrateData makes the volume of a workspace from what a root filesystem has
// at the data path: the one of a container that keeps its data there, or one
// whose container is gone. Or from a folder of the host that a container has
// mounted there. No process may be writing to it.
type MigrateData struct {
	Workspace string
	Snapshot  string // the root filesystem's key
	Folder    string // of the host, instead of a root filesystem
	DataPath  string // in the one or the other
}

// DiscardData puts the volume of a workspace into the trash.
type DiscardData struct {
	Workspace string
	At        time.Time // under which it is in the trash
}

// DiscardPreserved puts preserved data into the trash.
type DiscardPreserved struct {
	Workspace string
	Set       string    // whose it is
	At        time.Time // under which it was preserved
}

// RecoverData takes the volume of a workspace back out of the trash, and
// puts the one that took its place there.
type RecoverData struct {
	Workspace string
	At        time.Time // under which it is in the trash
}

// EmptyTrash removes what the trash has of a workspace, for good.
type EmptyTrash struct {
	Workspace string
}

// ExtractData unpacks an archive of data beside the volumes.
type ExtractData struct {
	Workspace string
	File      string // absolute
}

// PlaceData makes the unpacked archive the volume of its workspace.
type PlaceData struct {
	Workspace string
}

// AttachNetwork gives a workspace a network namespace with an address. One that
// is attached already stays as it is.
type AttachNetwork struct {
	Workspace string
	Set       string
	Ports     []spec.Port
}

// DetachNetwork takes the address and the namespace of a workspace back.
type DetachNetwork struct {
	Workspace string
}

// CreateContainer makes the container of a workspace, without a task.
type CreateContainer struct {
	Container string
	Set       string
	Host      string
	Image     string // the name in containerd's image store
	Spec      spec.Workspace
}

// AdoptContainer makes a container that carrel did not make one of its own:
// it gets carrel's labels and keeps the spec it amounts to.
type AdoptContainer struct {
	Container string
	Set       string
	Host      string
	Volume    string // the host folder mounted at the data path; "" when the data is in the root filesystem
	Spec      spec.Workspace
}

// UpdateLabels writes the parts of a spec that take effect in place into the
// container: its labels and the applied spec it keeps.
type UpdateLabels struct {
	Container string
	Set       string
	Host      string
	Spec      spec.Workspace
}

// UpdateResources changes the limits of the container, and of its task when
// it has one, without a restart.
type UpdateResources struct {
	Container string
	From, To  spec.Limits
}

// StartTask starts the process of a container. What is left of an earlier
// task is cleaned up first; a task that runs is left alone.
type StartTask struct {
	Workspace string
	Container string
}

// StopTask ends the process of a container and all its children: the signal,
// the grace period, then SIGKILL.
type StopTask struct {
	Container   string
	Signal      string // "" is the image's own, or SIGTERM
	GracePeriod spec.Duration
}

// DeleteContainer removes a container and its root filesystem. It refuses one
// whose task runs.
type DeleteContainer struct {
	Container string
}

// ClaimRecord makes an empty record of a workspace that any host may have: the
// first that has one has the workspace.
type ClaimRecord struct {
	Workspace string
	Set       string
	Host      string
	Source    string // the file that describes it
}

// ClaimedError is a workspace that any host may have, and that another one has.
type ClaimedError struct {
	Workspace, Host, Set string
	At                   time.Time
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("workspace %s was claimed by host %s for set %s at %s (it stays there; name a host in its spec to choose one)",
		e.Workspace, e.Host, e.Set, e.At.Format(time.RFC3339))
}

// SaveRecord writes a workspace into the store. The record's Version is the
// one that was observed; the store refuses when it has another.
type SaveRecord struct {
	Record state.Record
}

// DeleteRecord takes a workspace out of the store. Version is the one that
// was observed.
type DeleteRecord struct {
	Workspace string
	Version   int64
}

// NoteHistory writes down what a change did that writes no record at its end.
type NoteHistory struct {
	Workspace string
}

func (s PullImage) String() string   { return "pull image " + s.Image }
func (s ImportImage) String() string { return "import image " + s.Path }
func (s CreateVolume) String() string {
	return fmt.Sprintf("create volume of %s from %s in %s", s.Workspace, s.DataPath, short(s.Image))
}
func (s RestoreData) String() string {
	return fmt.Sprintf("restore data of %s from %s", s.Workspace, s.At.UTC().Format(time.RFC3339))
}
func (s PreserveData) String() string { return "preserve data of " + s.Workspace }
func (s MigrateData) String() string {
	if s.Folder != "" {
		return fmt.Sprintf("copy data of %s from folder %s", s.Workspace, s.Folder)
	}
	return fmt.Sprintf("copy data of %s from %s in root filesystem %s", s.Workspace, s.DataPath, s.Snapshot)
}
func (s DiscardData) String() string { return "discard data of " + s.Workspace }
func (s DiscardPreserved) String() string {
	return fmt.Sprintf("discard data of %s preserved at %s", s.Workspace, s.At.UTC().Format(time.RFC3339))
}
func (s RecoverData) String() string { return "take back discarded data of " + s.Workspace }
func (s EmptyTrash) String() string  { return "remove discarded data of " + s.Workspace }
func (s ExtractData) String() string {
	return fmt.Sprintf("extract data of %s from %s", s.Workspace, s.File)
}
func (s PlaceData) String() string { return "use extracted data as volume of " + s.Workspace }
func (s AttachNetwork) String() string {
	if len(s.Ports) == 0 {
		return "attach network of " + s.Workspace
	}
	return fmt.Sprintf("attach network of %s with ports %s", s.Workspace, ports(s.Ports))
}
func (s DetachNetwork) String() string { return "detach network of " + s.Workspace }
func (s CreateContainer) String() string {
	return fmt.Sprintf("create container %s from %s", s.Container, short(s.Image))
}
func (s AdoptContainer) String() string {
	return fmt.Sprintf("adopt container %s as %s", s.Container, s.Spec.Name)
}
func (s UpdateLabels) String() string { return "update labels and kept spec of " + s.Container }
func (s UpdateResources) String() string {
	return fmt.Sprintf("update limits of %s to %s", s.Container, limits(s.To))
}
func (s StartTask) String() string { return "start " + s.Container }
func (s StopTask) String() string {
	return fmt.Sprintf("stop %s within %s", s.Container, s.GracePeriod)
}
func (s DeleteContainer) String() string { return "delete container " + s.Container }
func (s ClaimRecord) String() string {
	return fmt.Sprintf("claim %s for host %s", s.Workspace, s.Host)
}
func (s SaveRecord) String() string {
	if s.Record.StoppedByUser {
		return fmt.Sprintf("record %s as held", s.Record.Workspace)
	}
	return "record " + s.Record.Workspace
}
func (s DeleteRecord) String() string { return "forget " + s.Workspace }
func (s NoteHistory) String() string  { return "note in the history of " + s.Workspace }

func (PullImage) step()        {}
func (ImportImage) step()      {}
func (CreateVolume) step()     {}
func (RestoreData) step()      {}
func (PreserveData) step()     {}
func (MigrateData) step()      {}
func (DiscardData) step()      {}
func (DiscardPreserved) step() {}
func (RecoverData) step()      {}
func (EmptyTrash) step()       {}
func (ExtractData) step()      {}
func (PlaceData) step()        {}
func (AttachNetwork) step()    {}
func (DetachNetwork) step()    {}
func (CreateContainer) step()  {}
func (AdoptContainer) step()   {}
func (UpdateLabels) step()     {}
func (UpdateResources) step()  {}
func (StartTask) step()        {}
func (StopTask) step()         {}
func (DeleteContainer) step()  {}
func (ClaimRecord) step()      {}
func (SaveRecord) step()       {}
func (NoteHistory) step()      {}
func (DeleteRecord) step()     {}

func (StopTask) disturbs()        {}
func (PreserveData) disturbs()    {}
func (DiscardData) disturbs()     {}
func (DetachNetwork) disturbs()   {}
func (DeleteContainer) disturbs() {}

// Disturbs reports whether a step takes something away from what runs: when a
// later step fails, it has to be brought back.
func Disturbs(s Step) bool {
	_, ok := s.(interface{ disturbs() })
	return ok
}

func (EmptyTrash) settles()   {}
func (ClaimRecord) settles()  {}
func (SaveRecord) settles()   {}
func (DeleteRecord) settles() {}
func (NoteHistory) settles()  {}

// Settles reports whether a step changes nothing that a workspace runs with:
// when it fails, what runs is as it should be all the same.
func Settles(s Step) bool {
	_, ok := s.(interface{ settles() })
	return ok
}

func (ClaimRecord) notes()  {}
func (SaveRecord) notes()   {}
func (DeleteRecord) notes() {}
func (NoteHistory) notes()  {}

// NotesHistory reports whether a step also writes down the steps before it.
func NotesHistory(s Step) bool {
	_, ok := s.(interface{ notes() })
	return ok
}

// StepName is the step's kind, for example "PullImage".
func StepName(s Step) string { return strings.TrimPrefix(fmt.Sprintf("%T", s), "plan.") }

// shortDigest is how much of a digest a person reads.
const shortDigest = 12

// short is an image's name with a digest that is cut to what a person reads.
func short(image string) string {
	name, digest, ok := strings.Cut(image, "@sha256:")
	if !ok || len(digest) <= shortDigest {
		return image
	}
	return name + "@" + digest[:shortDigest]
}

func limits(l spec.Limits) string {
	words := []string{fmt.Sprintf("%d pids", l.Pids)}
	if l.CPU != 0 {
		words = append(words, l.CPU.String()+" cpu")
	}
	if l.Memory != 0 {
		words = append(words, l.Memory.String()+" memory")
	}
	return strings.Join(words, ", ")
}
