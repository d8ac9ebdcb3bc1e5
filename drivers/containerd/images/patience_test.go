package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"carrel/plan"
)

// server is a registry that gives answers in order, and then answers well. It notes
// when it was asked.
type server struct {
	mu      sync.Mutex
	began   time.Time
	answers []*http.Response
	asked   []string
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Since(s.began).String())
	if r.Body != nil {
		if text, err := io.ReadAll(r.Body); err != nil || string(text) != "question" {
			return nil, fmt.Errorf("the body is %q: %w", text, err)
		}
	}
	if len(s.answers) == 0 {
		return answer(http.StatusOK, "", ""), nil
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next, nil
}

func answer(status int, retryAfter, body string) *http.Response {
	a := &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
	}
	if retryAfter != "" {
		a.Header.Set("Retry-After", retryAfter)
	}
	return a
}

func request(ctx context.Context, t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://registry.example.com/v2/", body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRefusalsAreWaitedFor(t *testing.T) {
	const full = `{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}`
	date := time.Date(2000, 1, 1, 0, 0, 5, 0, time.UTC).Format(http.TimeFormat) // of the fake clock, 5 s later
	for name, test := range map[string]struct {
		answers []*http.Response
		limit   time.Duration
		hurried bool
		asked   []string
		busy    string
	}{
		"none":              {asked: []string{"0s"}},
		"seconds":           {answers: []*http.Response{answer(429, "7", "")}, asked: []string{"0s", "7s"}},
		"a date":            {answers: []*http.Response{answer(429, date, "")}, asked: []string{"0s", "5s"}},
		"no time at all":    {answers: []*http.Response{answer(429, "0", "")}, asked: []string{"0s", "1s"}},
		"maintenance":       {answers: []*http.Response{answer(503, "3", "")}, asked: []string{"0s", "3s"}},
		"an error":          {answers: []*http.Response{answer(503, "", "")}, asked: []string{"0s"}},
		"twice":             {answers: []*http.Response{answer(429, "7", ""), answer(429, "2", "")}, asked: []string{"0s", "7s", "9s"}},
		"no time":           {answers: []*http.Response{answer(429, "", ""), answer(429, "soon", "")}, asked: []string{"0s", "1s", "3s"}},
		"never a time":      {answers: []*http.Response{answer(429, "", ""), answer(429, "", ""), answer(429, "", ""), answer(429, "", "")}, asked: []string{"0s", "1s", "3s", "7s"}, busy: "2000-01-01T00:00:15Z: 429 Too Many Requests"},
		"longer than a run": {answers: []*http.Response{answer(429, "600", full)}, asked: []string{"0s"}, busy: "2000-01-01T00:10:00Z: 429 Too Many Requests: toomanyrequests: slow down"},
		"days":              {answers: []*http.Response{answer(429, "999999", "")}, asked: []string{"0s"}, busy: "2000-01-01T01:00:00Z: 429"},
		"a deadline":        {answers: []*http.Response{answer(429, "7", "")}, limit: 5 * time.Second, asked: []string{"0s"}, busy: "2000-01-01T00:00:07Z: 429"},
		"another mirror":    {answers: []*http.Response{answer(429, "7", "")}, hurried: true, asked: []string{"0s"}, busy: "2000-01-01T00:00:07Z: 429"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.limit > 0 {
					limited, cancel := context.WithTimeout(ctx, test.limit)
					defer cancel()
					ctx = limited
				}
				s := &server{began: time.Now(), answers: test.answers}
				p := &patient{next: s, refused: &refused{}, hurried: map[string]bool{"registry.example.com": test.hurried}}
				_, err := p.RoundTrip(request(ctx, t, strings.NewReader("question")))
				busy, refused := errors.AsType[*plan.BusyError](err)
				if refused != (test.busy != "") || refused && !strings.Contains(busy.Error(), test.busy) {
					t.Errorf("the error is %v", err)
				}
				if diff := cmp.Diff(test.asked, s.asked); diff != "" {
					t.Errorf("asked at -want +got:\n%s", diff)
				}
			})
		})
	}
}

// What one request was told holds for those that come later, of other images too.
func TestARefusalHoldsForAllRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{began: time.Now(), answers: []*http.Response{answer(429, "90", "")}}
		shared := &refused{}
		ask := func() error {
			_, err := (&patient{next: s, refused: shared}).RoundTrip(request(t.Context(), t, nil))
			return err
		}
		for range 3 {
			if _, busy := errors.AsType[*plan.BusyError](ask()); !busy {
				t.Error("a request was not refused")
			}
		}
		time.Sleep(60 * time.Second) // of the fake clock
		if err := ask(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"0s", "1m30s"}, s.asked); diff != "" {
			t.Errorf("asked at -want +got:\n%s", diff)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &server{began: time.Now(), answers: []*http.Response{answer(429, "7", "")}}
		time.AfterFunc(time.Second, cancel)
		_, err := (&patient{next: s, refused: &refused{}}).RoundTrip(request(ctx, t, nil))
		if !errors.Is(err, context.Canceled) || len(s.asked) != 1 {
			t.Errorf("asked at %v; the error is %v", s.asked, err)
		}
	})
}
