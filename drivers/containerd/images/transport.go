package images

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// onlyRegistries refuses the answers of servers that are no registries, such as the
// login page of a proxy.
type onlyRegistries struct{ next http.RoundTripper }

func (o onlyRegistries) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := o.next.RoundTrip(r)
	if err != nil || answer.StatusCode/100 != 2 && answer.StatusCode != http.StatusNotFound {
		return answer, err
	}
	form, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	page := form == "text/html" || form == "text/plain" && answer.StatusCode == http.StatusOK && strings.Contains(r.URL.Path, "/manifests/")
	if !page {
		return answer, nil
	}
	text := fmt.Sprintf("%s answers with a page of type %s (%s), as no registry does (check the name of the registry; a proxy may ask for a login)",
		r.URL.Host, form, answer.Status)
	return nil, errors.Join(&unusableError{text}, answer.Body.Close())
}

// localHandshake limits the wait for a registry on the loopback to speak https.
const localHandshake = 4 * time.Second

// plainLocal speaks plain http with a registry on the loopback that does not speak
// https, as docker and nerdctl do.
type plainLocal struct {
	next  http.RoundTripper
	host  string
	plain atomic.Bool // that it speaks plain http is known
}

func (p *plainLocal) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != p.host {
		return p.next.RoundTrip(r)
	}
	if p.plain.Load() {
		return p.next.RoundTrip(unencrypted(r))
	}
	answer, err := p.next.RoundTrip(r)
	var untrusted *tls.CertificateVerificationError
	if err == nil || errors.As(err, &untrusted) || r.Context().Err() != nil {
		return answer, err
	}
	again, ok := rewound(r)
	if !ok {
		return nil, err
	}
	answer, noPlain := p.next.RoundTrip(unencrypted(again))
	if noPlain != nil {
		return nil, err
	}
	p.plain.Store(true)
	return answer, nil
}

// unencrypted is a request over plain http.
func unencrypted(r *http.Request) *http.Request {
	plain := r.WithContext(r.Context())
	u := *r.URL
	u.Scheme, plain.URL = "http", &u
	return plain
}

// local reports whether a registry is on this host, by its name alone.
func local(registry string) bool {
	name := (&url.URL{Host: registry}).Hostname()
	return docker.IsLocalhost(name) || strings.HasSuffix(name, ".localhost")
}
