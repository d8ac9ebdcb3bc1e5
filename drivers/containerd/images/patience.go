package images

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"carrel/plan"
)

// How long requests wait for a registry that refuses more of them for now.
const (
	patience      = time.Minute // of one request, all waits together
	refusals      = 4           // how often one request is refused that is not told for how long
	minRetryAfter = time.Second // also the first wait when a registry does not say how long; it doubles
	maxRetryAfter = time.Hour   // a registry that says more is taken to say this
	maxRefusal    = 64 << 10    // of a refusal's body
)

// patient sends requests to registries. It asks one that refuses more requests (429,
// or 503 with Retry-After) again when it says so: at once it would only refuse again,
// and count the request.
type patient struct {
	next    http.RoundTripper
	refused *refused
	hurried map[string]bool // hosts that have another one after them, which is asked instead
}

// refused is which registries refuse requests, and until when: what one request was
// told holds for all.
type refused struct {
	mu    sync.Mutex
	hosts map[string]*plan.BusyError
}

func (r *refused) until(host string) *plan.BusyError {
	r.mu.Lock()
	defer r.mu.Unlock()
	if busy := r.hosts[host]; busy != nil && time.Now().Before(busy.At) {
		return busy
	}
	delete(r.hosts, host)
	return nil
}

func (r *refused) note(busy *plan.BusyError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts == nil {
		r.hosts = map[string]*plan.BusyError{}
	}
	if known := r.hosts[busy.Registry]; known == nil || known.At.Before(busy.At) {
		r.hosts[busy.Registry] = busy
	}
}

// RoundTrip sends a request when its host takes it. A *plan.BusyError is that it does
// not in time.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	latest := time.Now().Add(patience)
	if deadline, ok := r.Context().Deadline(); ok && deadline.Before(latest) {
		latest = deadline
	}
	for attempt := 1; ; attempt++ {
		if err := p.wait(r.Context(), r.URL.Host, latest); err != nil {
			return nil, err
		}
		response, err := p.next.RoundTrip(r)
		if err != nil || !refuses(response) {
			return response, err
		}
		after, told := retryAfter(response.Header, time.Now())
		if !told {
			after = minRetryAfter << (attempt - 1)
		}
		busy := &plan.BusyError{
			Registry: r.URL.Host, Answer: refusal(response),
			At: time.Now().Add(min(max(after, minRetryAfter), maxRetryAfter)).Round(0),
		}
		p.refused.note(busy)
		again, ok := rewound(r)
		if !ok || !told && attempt == refusals {
			return nil, busy
		}
		r = again
	}
}

// wait waits until a host takes requests, at the latest until a time.
func (p *patient) wait(ctx context.Context, host string, latest time.Time) error {
	for {
		busy := p.refused.until(host)
		if busy == nil {
			return nil
		}
		if p.hurried[host] || busy.At.After(latest) {
			return busy
		}
		timer := time.NewTimer(time.Until(busy.At))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func refuses(r *http.Response) bool {
	return r.StatusCode == http.StatusTooManyRequests ||
		r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != ""
}

// refusal is what a registry says that refuses a request.
func refusal(r *http.Response) string {
	defer r.Body.Close()
	var said docker.Errors
	text, err := io.ReadAll(io.LimitReader(r.Body, maxRefusal))
	if err != nil || json.Unmarshal(text, &said) != nil || said.Len() == 0 {
		return r.Status
	}
	return r.Status + ": " + strings.ReplaceAll(said.Error(), "\n", "; ")
}

// retryAfter is the time that a Retry-After header says, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) (after time.Duration, told bool) {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(text)
	return at.Sub(now), err == nil
}

// rewound is a request that can be sent again.
func rewound(r *http.Request) (again *http.Request, ok bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	again = r.WithContext(r.Context())
	again.Body = body
	return again, true
}
