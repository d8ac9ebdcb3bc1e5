package images

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"carrel/plan"
)

// notFoundError is a name that a registry does not have.
type notFoundError struct{ err error }

func (e *notFoundError) Error() string { return e.err.Error() }
func (e *notFoundError) Unwrap() error { return e.err }

// registryError says in one line why a registry did not give an image.
func (s *Store) registryError(ref string, err error) error {
	var unusable *unusableError
	var busy *plan.BusyError
	var missing *notFoundError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unusable):
		return told(err, "image %s: %s", ref, unusable)
	case errors.As(err, &busy):
		return told(err, "image %s: %s", ref, busy)
	case errors.As(err, &missing):
		return told(err, "image %s was not found in its registry (check the name and the tag): %s", ref, innermost(err))
	}
	registry, _, _ := strings.Cut(ref, "/")
	for _, explain := range []func(registry, ref string, err error) string{statusText, s.networkText, contentText} {
		if text := explain(registry, ref, err); text != "" {
			return told(err, "%s: %s", text, innermost(err))
		}
	}
	return told(err, "image %s: %s", ref, readable(err))
}

// statusText explains what a registry answered; "" when it did not answer.
func statusText(registry, ref string, err error) string {
	var answer remoteerrors.ErrUnexpectedStatus
	answered := errors.As(err, &answer)
	switch status := answer.StatusCode; {
	case errors.Is(err, docker.ErrInvalidAuthorization), status == http.StatusUnauthorized:
		return fmt.Sprintf("registry %s refuses image %s: it does not have it, or needs credentials, or other ones (docker login %s)", registry, ref, registry)
	case status == http.StatusForbidden:
		return fmt.Sprintf("registry %s denies image %s: it does not have it, or these credentials have no right to it (docker login %s)", registry, ref, registry)
	case status >= http.StatusInternalServerError:
		return fmt.Sprintf("registry %s has an error of its own at image %s (try again later)", registry, ref)
	case status == http.StatusBadRequest && strings.HasPrefix(answer.RequestURL, "http:"):
		return fmt.Sprintf("registry %s does not accept plain http for image %s (if hosts.toml says http://, write https://)", registry, ref)
	case answered:
		return fmt.Sprintf("registry %s does not give image %s", registry, ref)
	}
	return ""
}

// networkText explains why a registry did not answer; "" when that is not the reason.
func (s *Store) networkText(registry, ref string, err error) string {
	host, file, known := registry, s.hostsFile(registry), &url.Error{}
	if errors.As(err, &known) {
		if u, invalid := url.Parse(known.URL); invalid == nil {
			host = u.Host // a mirror, perhaps
		}
	}
	var untrusted *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Sprintf("registry %s speaks http, not https (to allow that, write server = %q into %s)", host, "http://"+host, file)
	case errors.As(err, &untrusted):
		return fmt.Sprintf("the certificate of registry %s is not trusted (to trust its authority, write ca = \"FILE\" into %s)", host, file)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("registry %s does not answer in time for image %s", host, ref)
	case errors.As(err, &network):
		return fmt.Sprintf("registry %s cannot be reached", host)
	}
	return ""
}

// contentText explains what is wrong with the content of an image; "" when it is not
// that.
func contentText(_, ref string, err error) string {
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Sprintf("image %s: its registry has lost a part of it (push it again)", ref)
	case errdefs.IsFailedPrecondition(err):
		return fmt.Sprintf("image %s: what its registry sends is damaged (apply again; if that does not help, push it again)", ref)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Sprintf("image %s: the download broke off (apply again to continue it)", ref)
	}
	return ""
}

// hostsFile is the hosts.toml of a registry. It need not exist.
func (s *Store) hostsFile(registry string) string {
	dir, err := config.HostDirFromRoot(s.config.HostsDir)(registry)
	if err != nil || filepath.Base(dir) == "_default" {
		dir = filepath.Join(s.config.HostsDir, registry)
	}
	return filepath.Join(dir, "hosts.toml")
}

// told is an error with another text: the texts of clients repeat the name of the
// image. It still matches the same types.
func told(err error, format string, args ...any) error {
	return &toldError{text: strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; "), err: err}
}

type toldError struct {
	text string
	err  error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.err }

// innermost is the error that all others wrap, with the address for one of the network.
func innermost(err error) error {
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
