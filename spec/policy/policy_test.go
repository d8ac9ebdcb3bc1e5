package policy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"carrel/spec"
	"carrel/spec/policy"
	"carrel/spec/spectest"
)

const envelope = "apiVersion: carrel/v1\nkind: HostPolicy\nspec:\n  "

// judged is what a policy says of one workspace, without what it allows.
func judged(t *testing.T, rules, body string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	spectest.Write(t, "policy.yaml", envelope+rules+"\n")
	spectest.Write(t, "a.yaml", "apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: a}\nspec:\n  "+strings.ReplaceAll(body, "\n", "\n  ")+"\n")
	p, err := policy.Load("policy.yaml")
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
	for _, test := range []struct{ rules, body, want string }{
		{`{}`, "image: python\nnetwork: {mode: host}\nmounts: [{source: /, target: /host}]", ""},
		{`images: ["docker.io/library/*"]`, "image: python", ""},
		{`images: ["docker.io/*"]`, "image: python",
			"a.yaml:5:10: image docker.io/library/python:latest is not allowed here (the policy of this host, policy.yaml, allows docker.io/*)"},
		{`images: ["docker.io/**"]`, "image: python", ""},
		{`images: ["oci-archive:/srv/*"]`, "image: oci-archive:/srv/../etc/a.tar", "image oci-archive:/etc/a.tar is not allowed here"},
		{`images: ["oci-archive:/srv/*.tar"]`, "image: oci-archive:/srv/bots.tar:v1", ""},
		{`images: ["oci-archive:/srv/*.tar"]`, "image: oci-archive:/srv/secret:v1.tar", "image oci-archive:/srv/secret:v1.tar is not allowed here"},
		{`images: ["oci-archive:/srv/*.tar"]`, `image: "oci-archive:/srv/secret:v1.tar::"`, ""},
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
		{`rootUser: false`, "image: python\nuser: \"+0\"", "user +0 is not allowed here"},
		{`rootUser: false`, "image: python\nuser: \"1000\"", ""},
		{`hostPorts: {hostIPs: ["0:0::1"]}`, "image: python\nnetwork: {ports: [{host: 80, container: 80, hostIP: \"::1\"}]}", ""},
		{`hostPorts: {hostIPs: [0.0.0.0]}`, "image: python\nnetwork: {ports: [{host: 80, container: 80}, {host: 81, container: 81, hostIP: 10.0.0.1}]}", ""},
	} {
		if err := os.Symlink("/etc", outside+"/link"); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		t.Run(test.rules+" "+test.body, func(t *testing.T) {
			got := judged(t, test.rules, test.body)
			if !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPolicyThatOthersCanChange(t *testing.T) {
	t.Chdir(t.TempDir())
	spectest.Write(t, "policy.yaml", envelope+"{}\n")
	if err := os.Chmod("policy.yaml", 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Load("policy.yaml"); err == nil || !strings.Contains(err.Error(), "chmod go-w policy.yaml") {
		t.Errorf("a policy that all can write: %v", err)
	}
	if err := errors.Join(os.Chmod("policy.yaml", 0o644), os.Chown("policy.yaml", 1000, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Load("policy.yaml"); err == nil || !strings.Contains(err.Error(), "belongs to uid 1000") {
		t.Errorf("a policy of another user: %v", err)
	}
}

// A policy that is not there is told apart, and no other file is waited for.
func TestPolicyFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := policy.Load("none.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a policy that is not there: %v", err)
	}
	if _, err := policy.Load(""); err == nil || err.Error() != "no policy was named (name a file)" {
		t.Errorf("no name: %v", err)
	}
	spectest.Write(t, "folder/large.yaml", envelope+"{}\n"+strings.Repeat("#\n", 1<<19))
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	spectest.Link(t, "folder", "link")
	for path, want := range map[string]string{
		"folder":            "policy folder is not a regular file (name the file that has the policy)",
		"link":              "policy link is not a regular file (name the file that has the policy)",
		"pipe":              "policy pipe is not a regular file (name the file that has the policy)",
		"folder/large.yaml": "folder/large.yaml: larger than 1 MiB (split it into several files)",
	} {
		if _, err := policy.Load(path); err == nil || err.Error() != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestPolicyArchives loads the policy and the specs of each archive in
// testdata/policy, for the host that its comment names.
func TestPolicyArchives(t *testing.T) {
	spectest.Golden(t, "testdata", func(archive *txtar.Archive) string {
		allowed, err := policy.Load("policy.yaml")
		if err != nil {
			return err.Error() + "\n"
		}
		_, host, _ := strings.Cut(string(archive.Comment), "host: ")
		set, err := allowed.LoadSpecs(strings.TrimSpace(host), "specs")
		if err != nil {
			return err.Error() + "\n"
		}
		return fmt.Sprintf("%d allowed\n", len(set.Workspaces))
	})
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, word string
		want          bool
	}{
		{"docker.io/library/*", "docker.io/library/redis:7", true},
		{"docker.io/library/*", "docker.io/library/a/b:7", false},
		{"docker.io/library/*", "docker.io/library/", true},
		{"docker.io/library/*", "docker.io/library", false},
		{"docker.io/**", "docker.io/library/a/b:7", true},
		{"docker.io/**/b:*", "docker.io/library/a/b:7", true},
		{"**", "oci-archive:/etc/a.tar", true},
		{"*", "docker.io/library/redis:7", false},
		{"docker.io/library/redis:7", "docker.io/library/redis:7", true},
		{"docker.io/library/redis:7", "docker.io/library/redis:77", false},
		{"docker.io/library/redis:7", "evil.io/docker.io/library/redis:7", false},
		{"docker.io/*", "docker.io.evil.io/a:1", false},
		{"*.example.com/a:*", "evil.io/x.example.com/a:1", false},
		{"*.example.com/a:*", "x.example.com/a:1", true},
		{"a.io/b:1.2", "a.io/b:1x2", false},
		{"a.io/[ab]:*", "a.io/a:1", false},
		{"a.io/(a|b)+?:*", "a.io/a:1", false},
		{"a.io/?:*", "a.io/a:1", false},
		{`a.io/\*`, "a.io/a:1", false},
		{`a.io/\**`, "a.io/a:1", false},
		{"a.io/***", "a.io/a/b:1", true},
		{"a.io/*\n", "a.io/a:1", false},
		{"a.io/*", "a.io/a:1\nb", true},
		{"A.io/*", "a.io/a:1", false},
		{"", "", true},
		{strings.Repeat("*a", 512), strings.Repeat("a", 1<<12) + "b", false},
	} {
		err := policy.Policy{Devices: []string{c.pattern}}.Check([]spec.Workspace{{Devices: []string{c.word}}})
		if (err == nil) != c.want {
			t.Errorf("pattern %.40q, %.40q: %v", c.pattern, c.word, err)
		}
	}
}

// A source is what it leads to, as far as it exists.
func TestPolicyPaths(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"ok/sub", "ok2", "other/sub"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	spectest.Write(t, dir+"/ok/file", "")
	for name, target := range map[string]string{
		"ok/out": "../other", "ok/up": "..", "ok/in": "sub", "ok/dangling": dir + "/other/later", "ok/loop": "loop",
		"ok/far": "in/../out/sub", "ok/prefix": "../ok2", "into": "ok/sub", "rule": "other",
	} {
		spectest.Link(t, target, filepath.Join(dir, name))
	}
	allowed := policy.Policy{HostPaths: []policy.HostPath{{Path: dir + "/ok"}, {Path: dir + "/rule"}}}
	const no = " for writing is not allowed here"
	for source, want := range map[string]string{
		"ok": "", "ok/": "", "ok//sub/.": "", "ok/sub": "", "ok/file": "", "ok/in": "", "ok/not/yet": "", "ok/in/not-yet": "", "into": "",
		"ok/..":              "mounting $DIR" + no,
		"ok2":                "mounting $DIR/ok2" + no,
		"o":                  "mounting $DIR/o" + no,
		"":                   "mounting $DIR" + no,
		"ok/out":             "mounting $DIR/ok/out, which is $DIR/other," + no,
		"ok/out/sub":         "mounting $DIR/ok/out/sub, which is $DIR/other/sub," + no,
		"ok/out/not-yet":     "mounting $DIR/ok/out/not-yet, which is $DIR/other/not-yet," + no,
		"ok/far":             "mounting $DIR/ok/far, which is $DIR/other/sub," + no,
		"ok/up":              "mounting $DIR/ok/up, which is $DIR," + no,
		"ok/prefix":          "mounting $DIR/ok/prefix, which is $DIR/ok2," + no,
		"rule":               "mounting $DIR/rule, which is $DIR/other," + no,
		"ok/dangling":        "mounting $DIR/ok/dangling is not allowed here: where it leads is not known ($DIR/ok/dangling is a link to nothing)",
		"ok/dangling/below":  "mounting $DIR/ok/dangling/below is not allowed here: where it leads is not known ($DIR/ok/dangling is a link to nothing)",
		"ok/loop":            "mounting $DIR/ok/loop is not allowed here: where it leads is not known (EvalSymlinks: too many links)",
		"ok/file/below":      "mounting $DIR/ok/file/below is not allowed here: where it leads is not known (not a directory)",
		"ok/" + longName:     "mounting $DIR/ok/" + longName + " is not allowed here: where it leads is not known (file name too long)",
		"ok/a\x00b":          "mounting $DIR/ok/a\\x00b is not allowed here: where it leads is not known (invalid argument)",
		"other/sub/../../ok": "",
	} {
		got := ""
		if err := allowed.Check([]spec.Workspace{{Mounts: []spec.Mount{{Source: dir + "/" + source, Target: "/m"}}}}); err != nil {
			got, _, _ = strings.Cut(strings.ReplaceAll(err.Error(), dir, "$DIR"), " (the policy of this host")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", source, diff)
		}
	}
}

var longName = strings.Repeat("a", 300)

// No input makes Load or Check panic, and each error is one line.
func FuzzPolicy(f *testing.F) {
	for _, path := range spectest.Archives(f, "testdata") {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	asked := spec.Default()
	asked.Image, asked.User = "docker.io/library/redis:7", "+0"
	asked.Devices = []string{"nvidia.com/gpu=0"}
	asked.Mounts = []spec.Mount{{Source: "/etc/none/x", Target: "/a"}}
	asked.Network.Ports = []spec.Port{{Host: 80, Container: 80, Protocol: "tcp"}}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		allowed, err := policy.Load(path)
		if err == nil {
			err = allowed.Check([]spec.Workspace{asked})
		}
		if err == nil {
			return
		}
		var errs spec.Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			if len(content) <= 1<<20 {
				t.Fatalf("no list of errors: %v", err)
			}
			return
		}
		for _, e := range errs {
			if text := e.Error(); strings.ContainsAny(text, "\n\r\x00") {
				t.Errorf("not a line: %q", text)
			}
		}
	})
}
