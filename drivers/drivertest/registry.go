package drivertest

import (
	"io"
	"log"
	"maps"
	"net"
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

// NewRegistry starts a registry that speaks plain http.
func NewRegistry(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{}
	server := httptest.NewServer(r.handler())
	t.Cleanup(server.Close)
	r.Host = strings.TrimPrefix(server.URL, "http://")
	return r
}

// NewRegistryAt starts a registry that speaks plain http at an address of the host.
func NewRegistryAt(t testing.TB, address string) *Registry {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &Registry{}
	server := httptest.NewUnstartedServer(r.handler())
	if err := server.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	r.Host = listener.Addr().String()
	return r
}

// handler is a registry that counts requests.
func (r *Registry) handler() http.Handler {
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req.Method+" "+req.URL.Path)
		before := r.before
		r.mu.Unlock()
		if before != nil && before(w, req) {
			return
		}
		next.ServeHTTP(w, req)
	})
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

// Refuse makes the registry give an answer to its next requests instead of its own,
// and count requests anew.
func (r *Registry) Refuse(times, status int, header http.Header, body string) {
	r.mu.Lock()
	r.requests = nil
	r.mu.Unlock()
	r.Before(func(w http.ResponseWriter, _ *http.Request) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if times == 0 {
			return false
		}
		times--
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		io.WriteString(w, body)
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
	ref, err := name.ParseReference(r.Host+"/"+repositoryAndTag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithAuth(authn.Anonymous)); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

// PushIndex pushes an index to the registry and returns its reference.
func (r *Registry) PushIndex(t testing.TB, repositoryAndTag string, index v1.ImageIndex) string {
	t.Helper()
	ref, err := name.ParseReference(r.Host+"/"+repositoryAndTag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index, remote.WithAuth(authn.Anonymous)); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}
