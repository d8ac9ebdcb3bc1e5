// Package web shows over HTTP what an agent knows: one page for a person, the
// same as JSON, metrics, and whether it is alive and ready. It only reads.
package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"carrel/plan"
)

// Config says what is shown, and to whom.
type Config struct {
	Report  func() plan.Report // what the agent knows now
	Alive   func() bool        // whether its loop turns
	Metrics prometheus.Gatherer

	// Loopback is whether it is for this host only. Then requests for another
	// name are refused: a page of somebody else's could make a browser ask.
	Loopback bool
}

//go:embed page.html page.css page.js
var assets embed.FS

// Handler answers GET and HEAD for /, /status, /metrics, /healthz and /readyz.
func Handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.page)
	mux.HandleFunc("GET /status", c.status)
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", c.health)
	mux.HandleFunc("GET /readyz", c.ready)
	for _, name := range []string{"page.css", "page.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, assets, name) })
	}
	return c.guarded(mux)
}

// guarded adds what keeps browsers from doing more than to show it.
func (c Config) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if c.Loopback && !local(r.Host) {
			http.Error(w, fmt.Sprintf("%q is not this host (ask for localhost, or start carrel watch with another --listen)", r.Host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether a name, perhaps with a port, is that of the host itself.
func local(name string) bool {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if len(name) > 1 && name[0] == '[' {
		name = name[1 : len(name)-1]
	}
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

func (c Config) health(w http.ResponseWriter, _ *http.Request) {
	if !c.Alive() {
		http.Error(w, "the agent hangs", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (c Config) ready(w http.ResponseWriter, _ *http.Request) {
	switch r := c.Report(); {
	case r.Trouble != "":
		http.Error(w, r.Trouble, http.StatusServiceUnavailable)
	case r.LookedAt.IsZero():
		http.Error(w, "the agent has not looked at the host yet", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}

func (c Config) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(c.Report()) // a client that went away is not told
}

func (c Config) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, viewOf(c.Report(), time.Now())); err != nil {
		_, _ = fmt.Fprintf(w, "\n<!-- %T -->\n", err) // a client that went away is not told
	}
}
