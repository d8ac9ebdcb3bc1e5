// Package web shows what an agent knows: a page for a person, the same as
// JSON, two answers for what keeps the agent running, and metrics. It changes
// nothing, and asks for no name: who may connect sees everything.
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

	"carrel/plan/report"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config says what is shown, and to whom.
type Config struct {
	Report  func() report.Agent // what the agent knows now; called for each request
	Alive   func() bool         // whether the agent's loop still turns
	Metrics prometheus.Gatherer

	// Loopback says that the server listens on loopback only. Requests for other
	// host names are refused then: a page from elsewhere, whose name was made to
	// point to loopback, would read everything with its visitor's browser.
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

// policy lets the page use the files of this server and nothing else: what a
// workspace's name or an error brings along cannot run, even if it got into
// the page unescaped.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard is before everything else: who may ask, and what browsers may do with
// the answer.
func (c Config) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		switch {
		case c.Loopback && !onLoopback(r.Host):
			http.Error(w, fmt.Sprintf("this agent answers on loopback only: ask for localhost, not for %q", r.Host), http.StatusForbidden)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			header.Set("Allow", "GET, HEAD")
			http.Error(w, "nothing can be changed here: only GET and HEAD are answered", http.StatusMethodNotAllowed)
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
		http.Error(w, "the agent's loop does not turn", http.StatusServiceUnavailable)
		return
	}
	say(w, "ok")
}

func (c Config) readyz(w http.ResponseWriter, _ *http.Request) {
	report := c.Report()
	switch {
	case report.Trouble != "":
		http.Error(w, strings.Join(strings.Fields(report.Trouble), " "), http.StatusServiceUnavailable)
	case report.SyncedAt.IsZero():
		http.Error(w, "the agent has not compared the specs with the host yet", http.StatusServiceUnavailable)
	default:
		say(w, "ok")
	}
}

func say(w http.ResponseWriter, line string) {
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
	w.Write(append(text, '\n')) // an error only says that the one who asked is gone
}
