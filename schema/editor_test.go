package schema_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// server is yaml-language-server, which runs behind VS Code, Neovim and other
// editors, as a process that speaks the Language Server Protocol.
const server = "../tools/editor/node_modules/yaml-language-server/bin/yaml-language-server"

// editor is a client of the server.
type editor struct {
	t      *testing.T
	to     io.Writer
	from   *bufio.Reader
	ids    int
	opened int
	folder string // of the documents
}

// message is one of the protocol, of any kind.
type message struct {
	ID     *json.RawMessage `json:"id"`
	Method string           `json:"method"`
	Params json.RawMessage  `json:"params"`
	Result json.RawMessage  `json:"result"`
	Error  json.RawMessage  `json:"error"`
}

// openEditor starts the server. It ends with the test.
func openEditor(t *testing.T) *editor {
	t.Helper()
	if _, err := os.Stat(server); err != nil {
		t.Fatalf("%v (make setup installs it)", err)
	}
	folder, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), "node", server, "--stdio")
	process.Stderr = os.Stderr
	to, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	e := &editor{t: t, to: to, from: bufio.NewReader(from), folder: folder}
	t.Cleanup(func() {
		to.Close()
		_ = process.Wait() // it was killed when the context of the test ended
	})
	e.request("initialize", map[string]any{"processId": os.Getpid(), "rootUri": nil, "capabilities": map[string]any{}})
	e.send(map[string]any{"method": "initialized", "params": map[string]any{}})
	return e
}

func (e *editor) send(fields map[string]any) {
	e.t.Helper()
	fields["jsonrpc"] = "2.0"
	text, err := json.Marshal(fields)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(e.to, "Content-Length: %d\r\n\r\n%s", len(text), text); err != nil {
		e.t.Fatal(err)
	}
}

// receive is the next message. Questions of the server are answered with nothing: it
// has its own defaults.
func (e *editor) receive() (m message) {
	e.t.Helper()
	header, err := textproto.NewReader(e.from).ReadMIMEHeader()
	if err != nil {
		e.t.Fatal(err)
	}
	length, err := strconv.Atoi(header.Get("Content-Length"))
	if err != nil {
		e.t.Fatal(err)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(e.from, text); err != nil {
		e.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		e.t.Fatalf("%v: %s", err, text)
	}
	if m.Method != "" && m.ID != nil {
		e.send(map[string]any{"id": m.ID, "result": []any{}})
	}
	return m
}

// request asks the server, and waits for its answer.
func (e *editor) request(method string, params any) json.RawMessage {
	e.t.Helper()
	e.ids++
	e.send(map[string]any{"id": e.ids, "method": method, "params": params})
	for {
		m := e.receive()
		if m.Method != "" || m.ID == nil || string(*m.ID) != strconv.Itoa(e.ids) {
			continue
		}
		if m.Error != nil {
			e.t.Fatalf("%s: %s", method, m.Error)
		}
		return m.Result
	}
}

// open opens a document with the modeline of the README, and returns its address.
func (e *editor) open(schema, text string) string {
	e.t.Helper()
	e.opened++
	uri := fmt.Sprintf("file://%s/%d.yaml", e.folder, e.opened)
	e.send(map[string]any{"method": "textDocument/didOpen", "params": map[string]any{
		"textDocument": map[string]any{"uri": uri, "languageId": "yaml", "version": 1, "text": "# yaml-language-server: $schema=" + schema + "\n" + text},
	}})
	return uri
}

// complete is what the server offers at the | in a document, without the larger
// pieces of text that it makes of several fields.
func (e *editor) complete(schema, text string) string {
	e.t.Helper()
	before, after, ok := strings.Cut(text, "|")
	if !ok {
		e.t.Fatalf("no | in %q", text)
	}
	lines := strings.Split(before, "\n")
	at := map[string]int{"line": len(lines), "character": len(lines[len(lines)-1])} // below the modeline
	result := e.request("textDocument/completion", map[string]any{"textDocument": map[string]string{"uri": e.open(schema, before+after)}, "position": at})
	var list struct {
		Items []struct{ Label, Detail string }
	}
	if err := json.Unmarshal(result, &list); err != nil {
		e.t.Fatalf("%v: %s", err, result)
	}
	var labels []string
	for _, item := range list.Items {
		if !strings.ContainsAny(item.Label, " (") {
			labels = append(labels, item.Label)
		}
	}
	slices.Sort(labels)
	return strings.Join(slices.Compact(labels), " ")
}

// problems are what the server underlines in a document.
func (e *editor) problems(schema, text string) string {
	e.t.Helper()
	uri := e.open(schema, text)
	for {
		m := e.receive()
		var found struct {
			URI         string
			Diagnostics []struct {
				Message string
				Range   struct{ Start struct{ Line, Character int } }
			}
		}
		if m.Method != "textDocument/publishDiagnostics" {
			continue
		}
		if err := json.Unmarshal(m.Params, &found); err != nil {
			e.t.Fatal(err)
		}
		if found.URI != uri {
			continue
		}
		var lines []string
		for _, d := range found.Diagnostics {
			lines = append(lines, fmt.Sprintf("%d: %s", d.Range.Start.Line, d.Message)) // the modeline is line 0
		}
		return strings.Join(lines, "\n")
	}
}

// The fields of a workspace's spec.
const fields = "args autoStart command dataPath devices env host image imagePullPolicy mounts network preserveData resources stop user workingDir"

const (
	workspace = "apiVersion: carrel/v1\nkind: Workspace\nmetadata: {name: a}\n"
	set       = "apiVersion: carrel/v1\nkind: WorkspaceSet\nmetadata: {name: a}\n"
)

// An editor offers the fields of the kind that a document has, and no others.
func TestCompletion(t *testing.T) {
	e := openEditor(t)
	without := func(field string) string { return strings.Replace(fields, field+" ", "", 1) }
	for _, c := range []struct{ name, text, want string }{
		{"an empty document", "|\n", "Workspace apiVersion kind metadata spec"},
		{"the version", "apiVersion: |\n", "carrel/v1"},
		{"the kinds", "apiVersion: carrel/v1\nkind: |\n", "Workspace WorkspaceSet"},
		{"a workspace", "apiVersion: carrel/v1\nkind: Workspace\n|\n", "Workspace metadata spec"},
		{"its metadata", "apiVersion: carrel/v1\nkind: Workspace\nmetadata:\n  |\n", "annotations labels name namespace renamedFrom"},
		{"its empty spec", workspace + "spec:\n  |\n", fields},
		{"its spec", workspace + "spec:\n  image: x\n  |\n", without("image")},
		{"its spec, in front", workspace + "spec:\n  |\n  image: x\n", without("image")},
		{"its network", workspace + "spec:\n  network:\n    |\n", "mode ports"},
		{"a port", workspace + "spec:\n  network:\n    ports:\n      - |\n", "container host hostIP protocol"},
		{"a choice", workspace + "spec:\n  network:\n    mode: |\n", "cni host none"},
		{"its limits", workspace + "spec:\n  resources:\n    limits:\n      |\n", "cpu memory pids"},
		{"without a kind", "apiVersion: carrel/v1\nspec:\n  |\n", fields},
		{"a set", set + "spec:\n  |\n", "defaults"},
		{"its defaults", set + "spec:\n  defaults:\n    |\n", fields},
		{"its defaults, further on", set + "spec:\n  defaults:\n    image: x\n    |\n", without("image")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, e.complete("workspace.schema.json", c.text)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// An editor underlines what the loader refuses, and nothing else.
func TestUnderlined(t *testing.T) {
	e := openEditor(t)
	for _, c := range []struct{ name, schema, text, want string }{
		{"a workspace", "workspace", workspace + "spec: {image: x}\n", ""},
		{"a set", "workspace", set + "spec: {defaults: {image: x}}\n", ""},
		{"an unknown field", "workspace", workspace + "spec:\n  imag: x\n", "5: Property imag is not allowed."},
		{"a field of a set", "workspace", workspace + "spec:\n  defaults: {}\n", "5: Property defaults is not allowed."},
		{"a field of a workspace", "workspace", set + "spec:\n  image: x\n", "5: Property image is not allowed."},
		{"no spec", "workspace", workspace, `1: Missing property "spec".`},
		{"a policy", "policy", "apiVersion: carrel/v1\nkind: HostPolicy\nspec: {hostNetwork: false}\n", ""},
		{"a rule that no policy has", "policy", "apiVersion: carrel/v1\nkind: HostPolicy\nspec:\n  network: false\n", "4: Property network is not allowed."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, e.problems(c.schema+".schema.json", c.text)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
