package page_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"carrel/plan/decide"
	"carrel/plan/report"
	"carrel/plan/report/page"
	"carrel/plan/state"
)

// noon is the time of all tests.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

func ref[T any](v T) *T { return &v }

// calm is the report of an agent that has nothing to do.
func calm() report.Agent {
	return report.Agent{
		Agent: state.Agent{
			Host: "node-1", Set: "bots", Version: "v1.4.0", Paths: []string{"/etc/carrel/specs"},
			StartedAt: before(76 * time.Hour), SeenAt: noon, SyncedAt: before(2 * time.Second),
		},
		Workspaces: []report.Status{{
			Workspace: "redis", Set: "bots", Host: "node-1", State: "running", Running: true, PID: 41, UpSince: ref(before(49 * time.Hour)),
			Image: "docker.io/library/redis:8", Digest: "sha256:0123456789abcdef0123456789abcdef", Address: "10.4.0.7",
		}, {
			Workspace: "notebook", Set: "bots", Host: "node-1", State: "stopped", ExitCode: ref(uint32(143)), ExitedAt: ref(before(5 * time.Minute)),
			Image: "ghcr.io/team/notebook:2026.2", Digest: "sha256:89abcdef0123456789abcdef01234567", Address: "10.4.0.9",
		}},
	}
}

// busy is a report in which every section of the page has content.
func busy() report.Agent {
	r := calm()
	r.Working = []string{"indexer", "ghcr.io/team/indexer:3"}
	r.Pending = []state.Pending{{Workspace: "scratch", Action: string(decide.ActionDelete), Why: "its spec is gone and it has data: carrel apply --allow-data-loss deletes it"}}
	r.Waiting = []state.Waiting{
		{Workspace: "bot-7", Why: "its task ended 5 times within a minute", Attempts: 5, Until: noon.Add(42 * time.Second)},
		{Image: "ghcr.io/team/bot:9", Why: "the registry answers 503", Attempts: 2, Until: noon.Add(3 * time.Minute)},
	}
	r.Errors = []state.SpecError{{Position: "/etc/carrel/specs/gpu.yaml:5:15", Text: `this host has no device "nvidia.com/gpu=7" (it has nvidia.com/gpu=0, nvidia.com/gpu=1)`, Since: before(3 * time.Hour)}}
	r.Notes = []string{"the folder /etc/carrel/specs/old is empty: what it described stays"}
	r.Workspaces = append(r.Workspaces,
		report.Status{Workspace: "bot-7", Set: "bots", State: "stopped", ExitCode: ref(uint32(1)), ExitedAt: ref(before(20 * time.Second)), OOMKills: 1,
			Image: "ghcr.io/team/bot:8", Digest: "sha256:ba5eba11ba5eba11", LastError: "start bot-7: the command ended at once with code 1", Restarts: 5, NextRetry: ref(noon.Add(42 * time.Second))},
		report.Status{Workspace: "indexer", Set: "bots", State: "running", Running: true, UpSince: ref(before(90 * time.Second)), Image: "ghcr.io/team/indexer:2"},
		report.Status{Workspace: "scratch", Set: "lab", State: report.StateStoppedByUser, Address: "host", StoppedByUser: true, Image: "docker.io/library/debian:13"},
		report.Status{Workspace: "stray", State: "orphan", Running: true},
	)
	r.Recent = []state.Recent{
		{Time: before(20 * time.Second), Workspace: "bot-7", Action: string(decide.ActionRestart), Reason: "its task ended", Duration: 1840 * time.Millisecond, Error: "start bot-7: the command ended at once with code 1"},
		{Time: before(90 * time.Second), Workspace: "indexer", Action: string(decide.ActionReplace), Reason: "image: ghcr.io/team/indexer:1 -> ghcr.io/team/indexer:2", Duration: 640 * time.Millisecond},
		{Time: before(2 * 24 * time.Hour), Workspace: "redis", Action: string(decide.ActionCreate), Reason: "it is new", Duration: 73 * time.Second},
	}
	return r
}

// serving is the configuration of a server of this report. The agent runs.
func serving(r report.Agent) page.Config {
	metrics := prometheus.NewRegistry()
	current := func() report.Agent { return r }
	metrics.MustRegister(page.Collector(current))
	return page.Config{Report: current, Alive: func() bool { return true }, Metrics: metrics, Now: func() time.Time { return noon }}
}

func ask(c page.Config, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	page.Handler(c).ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func TestAnswers(t *testing.T) {
	stuck, blind, early := serving(calm()), calm(), calm()
	stuck.Alive = func() bool { return false }
	blind.Trouble = "containerd does not answer:\n/run/containerd/containerd.sock"
	early.SyncedAt = time.Time{}
	for name, test := range map[string]struct {
		config page.Config
		ask    string
		want   string // the code, and the first line
	}{
		"healthy":          {serving(calm()), "GET /healthz", "200 ok"},
		"stuck":            {stuck, "GET /healthz", "503 the agent's loop has stopped"},
		"healthy, blind":   {serving(blind), "GET /healthz", "200 ok"},
		"ready":            {serving(busy()), "GET /readyz", "200 ok"},
		"blind":            {serving(blind), "GET /readyz", "503 containerd does not answer: /run/containerd/containerd.sock"},
		"not synced yet":   {serving(early), "GET /readyz", "503 the agent has not synced yet"},
		"page":             {serving(calm()), "GET /", "200 <!doctype html>"},
		"page, head":       {serving(calm()), "HEAD /", "200 <!doctype html>"}, // the server leaves the body out
		"stuck page":       {stuck, "GET /", "200 <!doctype html>"},
		"no report at all": {serving(report.Agent{}), "GET /", "200 <!doctype html>"},
		"status":           {serving(calm()), "GET /status", "200 {"},
		"metrics":          {serving(calm()), "GET /metrics", "200 # HELP carrel_backoff_images Images whose pull failed, and which the agent retries later."},
		"post":             {serving(calm()), "POST /", "405 this server is read-only: it answers only GET and HEAD"},
		"delete":           {serving(calm()), "DELETE /status", "405 this server is read-only: it answers only GET and HEAD"},
		"options":          {serving(calm()), "OPTIONS /metrics", "405 this server is read-only: it answers only GET and HEAD"},
		"elsewhere":        {serving(calm()), "GET /page.html", "404 404 page not found"},
	} {
		t.Run(name, func(t *testing.T) {
			method, target, _ := strings.Cut(test.ask, " ")
			answer := ask(test.config, method, target)
			line, _, _ := strings.Cut(answer.Body.String(), "\n")
			if diff := cmp.Diff(test.want, fmt.Sprint(answer.Code, " ", line)); diff != "" {
				t.Errorf("the answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHead(t *testing.T) {
	server := httptest.NewServer(page.Handler(serving(calm())))
	defer server.Close()
	for _, path := range []string{"/", "/status", "/healthz", "/metrics", "/page.js"} {
		answer, err := http.Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("HEAD %s: %s", path, answer.Status)
		}
	}
}

// TestHosts is about DNS rebinding: a server on loopback refuses every host
// name but its own, even when the name points to loopback.
func TestHosts(t *testing.T) {
	const refused = http.StatusForbidden
	for host, want := range map[string]int{
		"localhost": 200, "localhost:9460": 200, "LOCALHOST:9460": 200, "127.0.0.1": 200, "127.1.2.3:80": 200, "[::1]": 200, "[::1]:9460": 200,
		"": refused, "node-1": refused, "evil.example:9460": refused, "127.0.0.1.evil.example": refused, "localhost.evil.example:80": refused,
		"10.0.0.1:9460": refused, "[fe80::1]:9460": refused, "0.0.0.0:9460": refused, "127.0.0.1\nx": refused,
	} {
		t.Run(host, func(t *testing.T) {
			for _, target := range []string{"/", "/status", "/metrics", "/healthz", "/page.js"} {
				config := serving(calm())
				config.Loopback = true
				w, r := httptest.NewRecorder(), httptest.NewRequest("GET", target, nil)
				r.Host = host
				page.Handler(config).ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("%s: got %d, want %d", target, w.Code, want)
				}
				if lines := strings.Count(w.Body.String(), "\n"); want == refused && lines != 1 {
					t.Errorf("%s: %d lines: %s", target, lines, w.Body)
				}
			}
			config, r := serving(calm()), httptest.NewRequest("GET", "/", nil)
			r.Host = host
			w := httptest.NewRecorder()
			if page.Handler(config).ServeHTTP(w, r); w.Code != http.StatusOK {
				t.Errorf("not on loopback: got %d", w.Code)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	config := serving(calm())
	config.Loopback = true
	for _, target := range []string{"http://localhost/", "http://localhost/page.js", "http://localhost/status", "http://localhost/none", "http://evil.example/"} {
		got := ask(config, "GET", target).Header()
		if got.Get("X-Content-Type-Options") != "nosniff" || got.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", target, got)
		}
		policy := got.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: %s is not in %q", target, part, policy)
			}
		}
	}
	for file, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		if got := ask(config, "GET", "http://localhost/"+file).Header().Get("Content-Type"); got != kind {
			t.Errorf("%s is %q", file, got)
		}
	}
}

func TestStatusIsTheReport(t *testing.T) {
	answer := ask(serving(busy()), "GET", "/status")
	var got report.Agent
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(busy(), got); diff != "" {
		t.Errorf("the report (-want +got):\n%s", diff)
	}
	if kind := answer.Header().Get("Content-Type"); kind != "application/json" || !strings.Contains(answer.Body.String(), "\n  \"host\": \"node-1\"") {
		t.Errorf("it is %s, and not indented:\n%s", kind, answer.Body)
	}
}
