package spec

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"carrel/spec/document"
)

// foreign is a kind of document that other programs read and that is found where
// specs are expected. It is known by its apiVersion and kind, by its keys, or by the
// name of its file.
type foreign struct {
	kinds []string // of resources of Kubernetes
	keys  []string // that it has, all of them
	files []string // patterns of names, in lower case
	what  string   // it is; "" for "a Kubernetes KIND"
	hint  string
}

const (
	leaveOut = "move it out of the folder of the specs, or name it in .carrelignore"
	aService = "write each service as a document of its own, with apiVersion: carrel/v1 and kind: Workspace, or name the file in .carrelignore"
	aPod     = "write apiVersion: carrel/v1 and kind: Workspace, and the image, command, args and env of its container below spec, or name the file in .carrelignore"
)

// foreigners are the documents that are told apart. The first that fits counts.
var foreigners = []foreign{
	{kinds: []string{"Kustomization", "Component"}, files: []string{"kustomization.yaml", "kustomization.yml", "kustomization"},
		what: "a file of kustomize", hint: "run kustomize build DIR | carrel apply -, or name it in .carrelignore"},
	{kinds: []string{"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"}, hint: aPod},
	{kinds: []string{"*"}, hint: leaveOut},
	{keys: []string{"services"}, files: []string{"compose*.yaml", "compose*.yml", "docker-compose*.yaml", "docker-compose*.yml"},
		what: "a Compose file", hint: aService},
	{files: []string{"chart.yaml", "chart.yml", "chart.lock"}, what: "the description of a Helm chart", hint: leaveOut},
	{files: []string{"values*.yaml", "values*.yml"}, what: "the values of a Helm chart", hint: leaveOut},
	{keys: []string{"jobs", "on"}, what: "a workflow of GitHub Actions", hint: leaveOut},
	{files: []string{"devcontainer.json"}, what: "a description of a dev container", hint: leaveOut},
}

// The forms of apiVersion and kind of resources of Kubernetes.
var (
	resourceVersion = regexp.MustCompile(`^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$`)
	resourceKind    = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
)

// whose says which other program a document is for, and what to do. It is empty for
// what may be a spec, however wrong.
func whose(name string, d *document.Node) (what, hint string) {
	version, kind := d.Get("apiVersion").Text(), d.Get("kind").Text()
	if strings.HasPrefix(version, "carrel") || kind == "Workspace" || kind == "WorkspaceSet" {
		return "", ""
	}
	if !resourceVersion.MatchString(version) || !resourceKind.MatchString(kind) {
		kind = ""
	}
	for _, f := range foreigners {
		switch what := f.what; {
		case !f.fits(strings.ToLower(filepath.Base(name)), kind, d):
		case what == "":
			return "a Kubernetes " + kind, f.hint
		default:
			return what, f.hint
		}
	}
	return "", ""
}

func (f foreign) fits(file, kind string, d *document.Node) bool {
	for _, pattern := range f.kinds {
		if ok, err := path.Match(pattern, kind); err == nil && ok && kind != "" {
			return true
		}
	}
	for _, pattern := range f.files {
		if ok, err := path.Match(pattern, file); err == nil && ok && kind == "" {
			return true
		}
	}
	for _, key := range f.keys {
		if d.Get(key) == nil {
			return false
		}
	}
	return len(f.keys) > 0 && kind == ""
}

// specInJSON is what a JSON file with specs has.
var specInJSON = regexp.MustCompile(`"apiVersion"\s*:\s*"carrel\\?/|"kind"\s*:\s*"Workspace(Set)?"`)

// otherJSON reports whether a file is JSON that is not meant as a spec. Many programs
// keep such files beside their YAML, so it counts as a file that describes nothing.
func otherJSON(name string, content []byte) bool {
	return strings.EqualFold(filepath.Ext(name), ".json") && !specInJSON.Match(content)
}
