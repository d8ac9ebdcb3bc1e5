package spec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/schema"
	"carrel/spec"
)

const envelope = "apiVersion: carrel/v1\nkind: HostPolicy\nspec:\n  "

// judged is what a policy says of one workspace, without what it allows.
func judged(t *testing.T, policy, body string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "policy.yaml", envelope+policy+"\n")
	write(t, "a.yaml", "apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: a}\nspec:\n  "+strings.ReplaceAll(body, "\n", "\n  ")+"\n")
	p, err := spec.LoadPolicy("policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, err := spec.Load("a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(set.Workspaces); err != nil {
		return err.Error()
	}
	return ""
}

func TestPolicy(t *testing.T) {
	outside := t.TempDir()
	for _, test := range []struct{ policy, body, want string }{
		{`{}`, "image: python\nnetwork: {mode: host}\nmounts: [{source: /, target: /host}]", ""},
		{`images: ["docker.io/library/*"]`, "image: python", ""},
		{`images: ["docker.io/*"]`, "image: python",
			"a.yaml:5:10: image docker.io/library/python:latest is not allowed here (the policy of this host, policy.yaml, allows docker.io/*)"},
		{`images: ["docker.io/**"]`, "image: python", ""},
		{`images: ["oci-archive:/srv/*"]`, "image: oci-archive:/srv/../etc/a.tar", "image oci-archive:/etc/a.tar is not allowed here"},
		{`images: []`, "image: python", "allows nothing of the kind)"},
		{`images: ["docker.io.library.python:latest"]`, "image: python", "is not allowed here"},
		{`hostPaths: [{path: /usr}]`, "image: python\nmounts: [{source: /usr/lib, target: /m}]", ""},
		{`hostPaths: [{path: /usr/li}]`, "image: python\nmounts: [{source: /usr/lib, target: /m}]",
			"a.yaml:6:21: mounting /usr/lib for writing is not allowed here (the policy of this host, policy.yaml, allows /usr/li)"},
		{`hostPaths: [{path: /usr, readOnly: true}]`, "image: python\nmounts: [{source: /usr/lib, target: /m}]", "allows /usr (read-only))"},
		{`hostPaths: [{path: /usr, readOnly: true}]`, "image: python\nmounts: [{source: /usr/lib, target: /m, readOnly: true}]", ""},
		{`hostPaths: [{path: ` + outside + `}]`, "image: python\nmounts: [{source: " + outside + "/link, target: /m, readOnly: true}]",
			"/link, which is /etc, is not allowed here"},
		{`devices: ["nvidia.com/gpu=*"]`, "image: python\ndevices: [nvidia.com/gpu=0, amd.com/gpu=0]",
			"a.yaml:6:31: device amd.com/gpu=0 is not allowed here (the policy of this host, policy.yaml, allows nvidia.com/gpu=*)"},
		{`hostNetwork: false`, "image: python\nnetwork: {mode: host}", "a.yaml:6:19: network mode host is not allowed here"},
		{`hostNetwork: false`, "image: python", ""},
		{`hostPorts: {from: 20000, to: 29999}`, "image: python\nnetwork: {ports: [{host: 80, container: 80}]}",
			"a.yaml:6:28: port 80 of the host is not allowed here (the policy of this host, policy.yaml, allows 20000 to 29999)"},
		{`hostPorts: {hostIPs: [127.0.0.1]}`, "image: python\nnetwork: {ports: [{host: 80, container: 80}]}", "publishing port 80 at all addresses is not allowed here"},
		{`hostPorts: {hostIPs: [127.0.0.1]}`, "image: python\nnetwork: {ports: [{host: 80, container: 80, hostIP: 127.0.0.1}]}", ""},
		{`limits: {memory: 1Gi}`, "image: python", "no limit of memory is not allowed here (the policy of this host, policy.yaml, allows at most 1Gi)"},
		{`limits: {memory: 1Gi, cpu: 2}`, "image: python\nresources: {limits: {memory: 2Gi, cpu: 500m}}", "a.yaml:6:32: a limit of 2Gi memory is not allowed here"},
		{`limits: {pids: 100}`, "image: python", "a limit of 4096 pids is not allowed here"},
		{`rootUser: false`, "image: python", "a workspace that names no user may be root"},
		{`rootUser: false`, "image: python\nuser: root:1000", "a.yaml:6:9: user root:1000 is not allowed here"},
		{`rootUser: false`, "image: python\nuser: \"00\"", "user 00 is not allowed here"},
		{`rootUser: false`, "image: python\nuser: \"1000\"", ""},
	} {
		if err := os.Symlink("/etc", outside+"/link"); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		t.Run(test.policy+" "+test.body, func(t *testing.T) {
			got := judged(t, test.policy, test.body)
			if !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPolicyFaults(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "policy.yaml: 0 documents (write one document of kind HostPolicy)"},
		{"a: [", "policy.yaml:2:1: not valid YAML"},
		{envelope + "image: [a]", `policy.yaml:4:3: unknown field "image" in spec (did you mean "images"?)`},
		{envelope + "hostPaths: [{path: srv}]", "is \"srv\""},
		{envelope + "limits: {memory: lots}", "policy.yaml:4:20: spec.limits.memory is \"lots\" (write a size"},
		{"apiVersion: carrel/v1\nkind: Workspace\nspec: {}", `kind is "Workspace", and must be "HostPolicy"`},
		{"image: python", "this document is no policy of carrel (begin it with apiVersion: carrel/v1 and kind: HostPolicy)"},
	} {
		t.Chdir(t.TempDir())
		write(t, "policy.yaml", test.text)
		if _, err := spec.LoadPolicy("policy.yaml"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %s", test.text, err, test.want)
		}
	}
	if _, err := spec.LoadPolicy("none.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a policy that is not there: %v", err)
	}
}

func TestPolicyThatOthersCanChange(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "policy.yaml", envelope+"{}\n")
	if err := os.Chmod("policy.yaml", 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := spec.LoadPolicy("policy.yaml"); err == nil || !strings.Contains(err.Error(), "chmod go-w policy.yaml") {
		t.Errorf("a policy that all can write: %v", err)
	}
	if err := errors.Join(os.Chmod("policy.yaml", 0o644), os.Chown("policy.yaml", 1000, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := spec.LoadPolicy("policy.yaml"); err == nil || !strings.Contains(err.Error(), "belongs to uid 1000") {
		t.Errorf("a policy of another user: %v", err)
	}
}

// Every field of the policy's schema is described, its examples are valid, and
// the Go type has the same fields.
func TestPolicySchema(t *testing.T) {
	var document node
	if err := json.Unmarshal(schema.Policy, &document); err != nil {
		t.Fatal(err)
	}
	fields := document["$defs"].(map[string]any)["policy"].(map[string]any)["properties"].(map[string]any)
	for name, part := range fields {
		field := part.(map[string]any)
		if ref, ok := field["$ref"].(string); ok {
			field = document["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		if field["description"] == nil || field["examples"] == nil {
			t.Errorf("spec.%s has no description or no examples", name)
		}
		for _, example := range field["examples"].([]any) {
			text, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			write(t, "policy.yaml", envelope+fmt.Sprintf("%s: %s\n", name, text))
			if _, err := spec.LoadPolicy("policy.yaml"); err != nil {
				t.Errorf("the example of spec.%s: %v", name, err)
			}
		}
	}
	inGo := slices.Collect(func(yield func(string) bool) {
		for i := range reflect.TypeFor[spec.Policy]().NumField() {
			if name := reflect.TypeFor[spec.Policy]().Field(i).Tag.Get("json"); name != "" && !yield(name) {
				return
			}
		}
	})
	slices.Sort(inGo)
	if diff := cmp.Diff(inGo, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("-Go +schema:\n%s", diff)
	}
}
