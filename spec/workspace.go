// Package spec reads the YAML files that describe workspaces. It knows where each
// field is written, and reports every error of all files at once.
//
// Loading has three steps: the files below the paths are read and parsed (Read),
// the set's defaults are found (SetOf), and the workspaces of each file are made
// over them (File.Workspaces). Conflicts finds workspaces that contradict each
// other. Package lastvalid takes the same steps with older versions of files.
//
// It reads files and standard input only. Whether an image or a device exists is
// for others to find out.
package spec

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"carrel/spec/document"
)

// Workspace is one long-lived container and its data as a spec describes it,
// with every default filled in. Its JSON form is what an applied workspace
// keeps in its container and its record; keys are those of the YAML spec.
type Workspace struct {
	Name            string            `json:"name"`
	Labels          map[string]string `json:"labels,omitempty"`
	Image           string            `json:"image"` // a normalised reference, or "oci-archive:" and an Archive
	ImagePullPolicy PullPolicy        `json:"imagePullPolicy"`
	AutoStart       bool              `json:"autoStart"`
	Devices         []string          `json:"devices,omitempty"`
	PreserveData    PreservePolicy    `json:"preserveData"`
	DataPath        string            `json:"dataPath"`
	Command         []string          `json:"command,omitempty"`
	Args            []string          `json:"args,omitempty"`
	WorkingDir      string            `json:"workingDir,omitempty"`
	User            string            `json:"user,omitempty"`
	Env             []EnvVar          `json:"env,omitempty"`
	Mounts          []Mount           `json:"mounts,omitempty"`
	Network         Network           `json:"network"`
	Resources       Resources         `json:"resources"`
	Stop            Stop              `json:"stop"`
	Host            string            `json:"host,omitempty"`

	// RenamedFrom is the name that the workspace had before, "" when it says none.
	// It is about what exists, and no part of what is applied.
	RenamedFrom string `json:"-"`

	// Source is the absolute path of the file that describes the workspace,
	// "-" for standard input.
	Source string `json:"-"`

	places   document.Places // of its fields; "" is the document
	relative bool            // its image is an archive that was named relative to a file
}

// Default is a workspace with every default of the spec and nothing else.
// An applied spec is decoded over it, so that a field it does not have yet
// counts as its default.
func Default() Workspace {
	return Workspace{
		ImagePullPolicy: PullIfNotPresent,
		AutoStart:       true,
		PreserveData:    PreserveAlways,
		DataPath:        "/data",
		Network:         Network{Mode: NetworkCNI},
		Resources:       Resources{Limits: Limits{Pids: 4096}},
		Stop:            Stop{GracePeriod: Duration(10 * time.Second)},
	}
}

// At is where a field of the workspace stands in its file, for example
// "network.mode" or "devices[0]": the nearest parent that is written there
// when the field itself is not.
func (w Workspace) At(path string) Pos {
	if pos := w.places.At(path); pos != (Pos{}) {
		return pos
	}
	return Pos{File: w.Source}
}

// WithoutPlaces is the workspace when its file does not describe it any more: its
// fields stand nowhere.
func (w Workspace) WithoutPlaces() Workspace {
	w.places = nil
	return w
}

// PullPolicy says when an image is fetched.
type PullPolicy string

// The pull policies, as Kubernetes names them.
const (
	PullAlways       PullPolicy = "Always"
	PullIfNotPresent PullPolicy = "IfNotPresent"
	PullNever        PullPolicy = "Never"
)

// PreservePolicy says when the data of a workspace outlives its container.
type PreservePolicy string

// The preserve policies.
const (
	PreserveAlways    PreservePolicy = "Always"    // on replace and on delete
	PreserveOnReplace PreservePolicy = "OnReplace" // on replace only
	PreserveNever     PreservePolicy = "Never"
)

// EnvVar is one variable of the container's environment. Values may be
// secrets: nothing prints them.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Mount is a file or folder of the host seen at a path of the container.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// NetworkMode says which network the container is in.
type NetworkMode string

// The network modes.
const (
	NetworkCNI  NetworkMode = "cni"
	NetworkHost NetworkMode = "host"
	NetworkNone NetworkMode = "none"
)

// Network is the container's network and the ports it publishes on the host.
type Network struct {
	Mode  NetworkMode `json:"mode"`
	Ports []Port      `json:"ports,omitempty"`
}

// Port publishes a port of the container on the host. An empty HostIP is every
// address of the host.
type Port struct {
	Host      int    `json:"host"`
	Container int    `json:"container"`
	Protocol  string `json:"protocol"` // tcp or udp
	HostIP    string `json:"hostIP,omitempty"`
}

// Resources bounds what the container may use.
type Resources struct {
	Limits Limits `json:"limits"`
}

// Limits are upper bounds; zero is no limit.
type Limits struct {
	CPU    CPU   `json:"cpu,omitempty"`
	Memory Bytes `json:"memory,omitempty"`
	Pids   int64 `json:"pids"` // kept when it is 0: the default is not
}

// Stop is how the container's task is asked to end. An empty signal is the
// image's own, or SIGTERM.
type Stop struct {
	Signal      string   `json:"signal,omitempty"`
	GracePeriod Duration `json:"gracePeriod"`
}

// CPU is a number of thousandths of a core, written as a Kubernetes quantity.
type CPU int64

func (c CPU) String() string { return resource.NewMilliQuantity(int64(c), resource.DecimalSI).String() }

// MarshalText writes a Kubernetes quantity, for example "1500m".
func (c CPU) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a Kubernetes quantity.
func (c *CPU) UnmarshalText(text []byte) error {
	q, err := resource.ParseQuantity(string(text))
	*c = CPU(q.MilliValue())
	return err
}

// Bytes is a size, written as a Kubernetes quantity.
type Bytes int64

func (b Bytes) String() string { return resource.NewQuantity(int64(b), resource.BinarySI).String() }

// MarshalText writes a Kubernetes quantity, for example "4Gi".
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads a Kubernetes quantity.
func (b *Bytes) UnmarshalText(text []byte) error {
	q, err := resource.ParseQuantity(string(text))
	*b = Bytes(q.Value())
	return err
}

// Duration is a time span, written as Go writes it.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes Go's form, for example "10s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads Go's form.
func (d *Duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	*d = Duration(span)
	return err
}

// UnmarshalJSON reads the JSON form over the defaults.
func (w *Workspace) UnmarshalJSON(text []byte) error {
	type plain Workspace
	*w = Default()
	return json.Unmarshal(text, (*plain)(w))
}
