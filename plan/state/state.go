// Package state is what exists, as values: what the store, the container engine
// and the folders of a host had when they were observed, and what agents
// report. It has the versioned forms in which specs and observations are kept.
//
// It observes nothing and decides nothing: drivers fill a State, package plan
// reads it.
package state

import (
	"slices"
	"time"

	"carrel/spec"
)

// State is one snapshot of everything observed: the store, containerd and the
// folders of one host, all read at the same time.
type State struct {
	Host       string    // the host that was observed
	Time       time.Time // when
	Records    []Record  // of the whole store, other sets and hosts included
	Shared     bool      // whether other hosts use the store too
	Instances  []Instance
	Images     map[string]Image // by the image as the spec writes it; only those that were asked for
	Volumes    []Volume         // live ones
	VolumesDir string           // the folder that holds each under its workspace's name
	Preserved  []Preserved      // oldest first
	Trash      []Trashed        // discarded and not removed yet, oldest first
	Snapshots  []string         // keys of root filesystems whose container is gone
	Networks   []Attachment
	Left       []Leftover  // of networks that could not be detached whole
	CNI        string      // what networks are attached with, in one line
	DNS        []string    // what workspaces cannot use of the host's nameservers
	IPv4Only   bool        // networks are known to have no IPv6
	NoNetwork  string      // why no workspace can be attached to a network now; "" when it can
	NoPorts    string      // why none can publish ports now; "" when it can
	Taken      []TakenPort // of the ports that specs want
	Devices    Devices
	Absent     map[string]bool // mount sources that specs name, and mount points in them, which the host does not have
}

// Record is what the store remembers of a workspace.
type Record struct {
	Workspace     string
	Set           string
	Host          string
	Source        string          // the file that described it; "" when unknown
	Gone          bool            // whether the file is known to be gone from the host
	Container     string          // the container's id; "" until one was made
	Applied       *spec.Workspace // the spec that was applied last; nil until one was
	StoppedByUser bool            // carrel stop, until carrel start or another spec
	LastError     string          // of the last apply; "" when it went well
	Version       int64           // grows with each write; 0 has never been written
	CreatedAt     time.Time
	UpdatedAt     time.Time // when the last change of the workspace succeeded
}

// Instance is a container of containerd's, and its task.
type Instance struct {
	ID         string
	Workspace  string            // by its label; "" when carrel did not make or adopt it
	Set        string            // by its label
	Host       string            // by its label
	Applied    *spec.Workspace   // kept in the container; nil when carrel did not make or adopt it
	Found      *spec.Workspace   // of a container without Applied: what its OCI spec amounts to
	Snapshot   string            // the key of its root filesystem
	Outdated   string            // a file of the host that its process has in an older form; "" when none
	Damaged    string            // why it can never start again; "" when it can
	Image      string            // the name in containerd's image store, by digest when carrel made it
	Digest     string            // of the image's manifest or index; "" when unknown
	Volume     string            // the host folder mounted at the data path; "" when the data is in the root filesystem
	Labels     map[string]string // without those of the engine, and carrel's own
	Drift      []Drift           // what was changed in it on the host since carrel made it
	Devices    map[string]string // what was injected, by CDI name: the digest of what each resolved to
	CreatedAt  time.Time
	Unreadable string // why the applied spec that is kept in it cannot be read; "" when it can
	Task       Task
}

// Drift is a part of a container that is not as carrel made it: somebody has
// changed it on the host.
type Drift struct {
	Path  string // in the OCI spec, or the name of a label
	Made  string // its value when carrel made the container; "" when it had none
	Now   string // "" when it has none; neither has values that may be secret
	Label bool   // it is a label of carrel's own; otherwise it is in the OCI spec
}

// Redescribed reports whether the OCI spec of the container is not the one that
// carrel made it with.
func (c Instance) Redescribed() bool {
	return slices.ContainsFunc(c.Drift, func(d Drift) bool { return !d.Label })
}

// TaskStatus is containerd's word for what a task does.
type TaskStatus string

// The states of a task. A container without a task has TaskNone.
const (
	TaskNone    TaskStatus = ""
	TaskCreated TaskStatus = "created"
	TaskRunning TaskStatus = "running"
	TaskStopped TaskStatus = "stopped"
	TaskPaused  TaskStatus = "paused"
	TaskUnknown TaskStatus = "unknown" // its shim does not answer
)

// Task is the running process of a container, or what is left of it.
type Task struct {
	Status   TaskStatus
	PID      uint32
	Netns    uint64    // the inode of the network namespace of one that runs; 0 when unknown
	ExitCode uint32    // of a stopped task
	ExitedAt time.Time // of a stopped task
	OOMKills uint64    // how often the kernel killed a process of it for want of memory

	Limits  *spec.Limits // that the kernel has for it, where they are not the applied ones; else nil
	Drifted bool         // it was started with an OCI spec that is not the one that carrel made
}

// ShortOfMemory is said of a task that the kernel ended.
func (t Task) ShortOfMemory() string {
	if t.OOMKills == 0 {
		return ""
	}
	return ", out of memory,"
}

// Alive reports whether processes of the task may exist.
func (t Task) Alive() bool {
	return t.Status == TaskRunning || t.Status == TaskPaused || t.Status == TaskUnknown
}

// Image is what is known of an image that a spec names.
type Image struct {
	Name   string // in containerd's image store
	Digest string // there; "" when it is not there
	Source string // the digest that the registry or the archive has now; "" when not asked
	Err    string // why the source could not be asked, or has nothing that can be used
	Wrong  bool   // Err is about what the source has: asking again does not help until that changes
}

// Source is what a registry says that the name of an image points to.
type Source struct {
	Digest string
	Err    string    // why it could not be asked, or has nothing that can be used
	Wrong  bool      // as in Image
	Busy   time.Time // it accepts no more questions before; zero when it does
}

// Ask fills in what registries say of images.
func (s *State) Ask(sources map[string]Source) {
	for name, source := range sources {
		if image, named := s.Images[name]; named {
			image.Source, image.Err, image.Wrong = source.Digest, source.Err, source.Wrong
			s.Images[name] = image
		}
	}
}

// Volume is the data folder of a workspace.
type Volume struct {
	Workspace string
	Path      string
}

// Preserved is the volume of a workspace that is gone.
type Preserved struct {
	Workspace string
	Set       string // that the workspace was of; "" when unknown
	At        time.Time
	Path      string
}

// Trashed is data that was discarded and is still on the disk.
type Trashed struct {
	Workspace string
	At        time.Time
}

// Attachment is the network that a workspace was given. It outlives the task,
// the namespace and the boot of the host, until it is detached.
type Attachment struct {
	Workspace string
	Set       string
	Network   string // the name in the CNI configuration
	Addresses []string
	Ports     []spec.Port
	Netns     uint64 // the inode of its namespace; 0 when that is gone
	Broken    string // why it does not work; "" when it does
	Stale     string // what of the host has changed that its files do not say; "" when nothing has
}

// Leftover is what the network of a workspace may have left on the host, because a
// plugin failed when it was detached.
type Leftover struct {
	Workspace string
	Set       string // that the workspace was of; "" when unknown
	Network   string
	What      string // addresses, interfaces, ports
	File      string // that records it
	Blocked   string // why it cannot be removed now; "" when it can be tried
}

// Of reports whether it may be of a workspace of that set.
func (l Leftover) Of(set string) bool { return l.Set == set || l.Set == "" }

// TakenPort is a port of the host that something else has than a workspace of its
// store and state dir.
type TakenPort struct {
	spec.Port
	By        string // who has it, and how
	Container string // the container of carrel's whose process has it; "" when none's
}

// Devices are the CDI devices of the host.
type Devices struct {
	Found    map[string]string // by fully qualified name: the digest of what it resolves to
	Folders  []string          // that were searched, in order
	Warnings []string          // about CDI files that cannot be used
}

// Owner is the user and group that the process of a workspace has.
type Owner struct {
	UID, GID uint32
}
