// Package page serves the report of an agent over HTTP: a page for people, the
// same report as JSON, health probes, and metrics.
//
// It is read-only, and it has no authentication: everyone who can connect can
// read everything.
package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"carrel/plan/report"
)

// Config is what Handler serves, and to whom.
type Config struct {
	Report  func() report.Agent // the current report; called for each request
	Alive   func() bool         // whether the loop of the agent runs
	Metrics prometheus.Gatherer

	// Loopback says that the server listens on loopback only. It then refuses
	// requests for other host names. Otherwise a web site could point its own name
	// to loopback and read everything through its visitor's browser (DNS rebinding).
	Loopback bool

	Now func() time.Time // nil is time.Now
}

//go:embed page.html page.css page.js icon.svg
var files embed.FS

// Handler serves the page at /, /status, /healthz, /readyz and /metrics.
func Handler(c Config) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", c.page)
	for _, name := range []string{"page.css", "page.js", "icon.svg"} {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	mux.HandleFunc("/status", c.status)
	mux.HandleFunc("/healthz", c.healthz)
	mux.HandleFunc("/readyz", c.readyz)
	mux.Handle("/metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}))
	return c.guard(mux)
}

// contentPolicy allows the page to use the files of this server only. A script
// in a workspace's name or in an error cannot run, even if it reached the page
// unescaped.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard refuses requests that are not for this server or that are not reads,
// and sets the headers that limit what a browser may do with the response.
func (c Config) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		switch {
		case c.Loopback && !onLoopback(r.Host):
			http.Error(w, fmt.Sprintf("this agent listens on loopback only (use localhost instead of %q)", r.Host), http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			header.Set("Allow", "GET, HEAD")
			http.Error(w, "this server is read-only: it answers only GET and HEAD", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// onLoopback reports whether a Host header names loopback itself.
func onLoopback(host string) bool {
	name := host
	if without, _, err := net.SplitHostPort(host); err == nil {
		name = without
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.IsLoopback()
}

func (c Config) healthz(w http.ResponseWriter, _ *http.Request) {
	if !c.Alive() {
		http.Error(w, "the agent's loop has stopped", http.StatusServiceUnavailable)
		return
	}
	writeLine(w, "ok")
}

func (c Config) readyz(w http.ResponseWriter, _ *http.Request) {
	agent := c.Report()
	switch {
	case agent.Trouble != "":
		http.Error(w, strings.Join(strings.Fields(agent.Trouble), " "), http.StatusServiceUnavailable)
	case agent.SyncedAt.IsZero():
		http.Error(w, "the agent has not synced yet", http.StatusServiceUnavailable)
	default:
		writeLine(w, "ok")
	}
}

func writeLine(w http.ResponseWriter, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, line)
}

func (c Config) status(w http.ResponseWriter, _ *http.Request) {
	text, err := json.MarshalIndent(c.Report(), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n')) // an error means that the client has disconnected
}
