package drivertest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry is a registry on loopback, in the test's own process.
type Registry struct {
	Host string // 127.0.0.1 and a port

	mu       sync.Mutex
	requests []string // method and path
	before   func(w http.ResponseWriter, r *http.Request) (answered bool)
}

// NewRegistry starts a registry.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{}
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req.Method+" "+req.URL.Path)
		before := r.before
		r.mu.Unlock()
		if before != nil && before(w, req) {
			return
		}
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.Host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// Before calls a function before every request. It reports whether it answered.
func (r *Registry) Before(fn func(w http.ResponseWriter, req *http.Request) (answered bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = fn
}

// RequireLogin makes the registry ask for a name and a password.
func (r *Registry) RequireLogin(user, password string) {
	r.Before(func(w http.ResponseWriter, req *http.Request) bool {
		u, p, ok := req.BasicAuth()
		if ok && u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

// Count is how many requests had this prefix, such as "GET /v2/a/blobs".
func (r *Registry) Count(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, request := range r.requests {
		if strings.HasPrefix(request, prefix) {
			n++
		}
	}
	return n
}

// Push pushes an image to the registry and returns its reference.
func (r *Registry) Push(t testing.TB, repositoryAndTag string, image v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(r.Host + "/" + repositoryAndTag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithAuth(authn.Anonymous)); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}
