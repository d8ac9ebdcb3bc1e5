package page_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"carrel/plan/report"
	"carrel/plan/report/page"
)

// browser is a tab of a real browser, with the messages of its console.
type browser struct {
	context.Context
	t *testing.T

	mu       sync.Mutex
	messages []string
}

// openBrowser starts a browser with an empty profile. Its test runs in parallel
// with others, because it mostly waits for the page.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	t.Parallel()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	limited, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context ends before the cleanup
	allocator, stop := chromedp.NewExecAllocator(limited, options...)
	tab, _ := chromedp.NewContext(allocator)
	b := &browser{Context: tab, t: t}
	console := chromedp.Console(tab)
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		for message, err := range console {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.messages = append(b.messages, fmt.Sprint(message, " ", message.URL))
			b.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		err := chromedp.Cancel(tab) // waits for its end, so that its folder can be removed
		stop()
		cancel()
		<-listened
		if err != nil {
			t.Errorf("ending the browser: %v", err)
		}
	})
	return b
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs chromium: make setup installs it")
	return ""
}

// quiet checks that the console is empty: there was no error, and no violation
// of the content security policy.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff([]string(nil), b.messages); diff != "" {
		b.t.Errorf("the console is not empty (-want +got):\n%s", diff)
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url), chromedp.WaitVisible("main"))
}

// shows waits until the visible text of an element contains all words. It does
// not use chromedp's polling: that evaluates text as code, which the content
// security policy of the page forbids.
func (b *browser) shows(selector string, words ...string) {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		text := b.text(selector)
		missing := missing(text, words)
		if len(missing) == 0 {
			return
		}
		select {
		case <-late:
			b.t.Fatalf("%s does not show %q; its text is:\n%s", selector, missing, text)
		case <-tick.C:
		}
	}
}

func missing(text string, words []string) []string {
	var not []string
	for _, w := range words {
		if !strings.Contains(text, w) {
			not = append(not, w)
		}
	}
	return not
}

// text is the visible text of an element; "" when there is no such element.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return value[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// value is the value of an expression that the page evaluates.
func value[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// agent is a server on loopback whose report a test can replace.
type agent struct {
	*httptest.Server
	handler http.Handler
	report  atomic.Pointer[report.Agent]
}

func serve(t *testing.T, r report.Agent) *agent {
	t.Helper()
	a := &agent{}
	a.report.Store(&r)
	config := serving(r)
	config.Report, config.Loopback = func() report.Agent { return *a.report.Load() }, true
	a.handler = page.Handler(config)
	a.Server = httptest.NewServer(a.handler)
	t.Cleanup(func() { a.Close() })
	return a
}

// restart serves again at the same address.
func (a *agent) restart(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", a.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewUnstartedServer(a.handler)
	a.Listener.Close()
	a.Listener = listener
	a.Start()
}
