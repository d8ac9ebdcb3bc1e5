package page_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"carrel/plan/report"
	"carrel/plan/report/page"
	"carrel/plan/state"
)

// lines is the visible text of each element, with single spaces.
func (b *browser) lines(selector string) []string {
	b.t.Helper()
	return value[[]string](b, fmt.Sprintf(
		`[...document.querySelectorAll(%q)].filter(e => e.checkVisibility()).map(e => e.innerText.replace(/\s+/g, " ").trim())`, selector))
}

func TestPageShowsEverything(t *testing.T) {
	b, a := openBrowser(t), serve(t, busy())
	b.open(a.URL)
	b.shows("#live", "Live")
	for selector, want := range map[string][]string{
		"h1":                          {"node-1 set bots"},
		"#summary .line":              {"! Changes need approval, and specs have errors."},
		"#summary li":                 {"1 change needs approval", "1 error in specs", "2 retries are scheduled", "3 workspaces need attention"},
		"#working li":                 {"indexer", "ghcr.io/team/indexer:3"},
		"#pending tbody tr":           {"scratch delete its spec is gone and it has data: carrel apply --allow-data-loss deletes it"},
		"#errors tbody tr":            {`/etc/carrel/specs/gpu.yaml:5:15 this host has no device "nvidia.com/gpu=7" (it has nvidia.com/gpu=0, nvidia.com/gpu=1) 3 hours ago`},
		"#waiting tbody tr":           {"bot-7 its task ended 5 times within a minute 5 in 42 seconds", "image ghcr.io/team/bot:9 the registry answers 503 2 in 3 minutes"},
		"#workspaces caption":         {"6 workspaces: 2 running, 2 stopped, 1 orphan, 1 stopped by user."},
		"#workspaces tbody.attention": {"bot-7 stopped exit code 1, out of memory, restarted 5 times retry in 42 seconds 20 seconds ago – ghcr.io/team/bot:8 ba5eba11ba5e start bot-7: the command ended at once with code 1", "scratch set lab stopped by user needs approval – host docker.io/library/debian:13", "stray orphan – – –"},
		"#workspaces tbody:not(.attention)": {
			"indexer running being changed 1 minute ago – ghcr.io/team/indexer:2",
			"notebook stopped exit code 143 5 minutes ago 10.4.0.9 ghcr.io/team/notebook:2026.2 89abcdef0123",
			"redis running 2 days ago 10.4.0.7 docker.io/library/redis:8 0123456789ab",
		},
		"#workspaces tbody th": {"bot-7", "scratch set lab", "stray", "indexer", "notebook", "redis"},
		"#recent tbody": {
			"20 seconds ago bot-7 restart failed its task ended 1.8s start bot-7: the command ended at once with code 1",
			"1 minute ago indexer replace image: ghcr.io/team/indexer:1 -> ghcr.io/team/indexer:2 640ms",
			"2 days ago redis create it is new 1m13s",
		},
		"#notes li":  {"the folder /etc/carrel/specs/old is empty: what it described stays"},
		"#agent div": {"Host node-1", "Set bots", "Last sync 2 seconds ago", "Up since 3 days ago", "Version v1.4.0", "Watches /etc/carrel/specs"},
	} {
		if diff := cmp.Diff(want, b.lines(selector)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", selector, diff)
		}
	}
	if got := value[string](b, "document.title"); got != "! node-1 · carrel" {
		t.Errorf("the title is %q", got)
	}
	stamp := value[string](b, `(t => t.dateTime + " " + t.title)(document.querySelector("#errors time"))`)
	if stamp != "2026-03-04T09:00:00Z Wednesday, 4 March 2026, 09:00:00 UTC" {
		t.Errorf("the exact time is %q", stamp)
	}
	b.quiet()
}

// TestPageSummary checks the first line, which is all that many people read.
func TestPageSummary(t *testing.T) {
	b := openBrowser(t)
	edit := func(fn func(r *report.Agent)) report.Agent {
		r := calm()
		fn(&r)
		return r
	}
	for want, r := range map[string]report.Agent{
		"✓ All workspaces match their specs. No change needs approval, no spec has errors, and no retry is scheduled. Last sync 2 seconds ago.": calm(),
		"✕ The agent cannot sync. containerd is away Last sync 2 seconds ago.":                                                                  edit(func(r *report.Agent) { r.Trouble = "containerd is away" }),
		"… The agent has not synced yet.": edit(func(r *report.Agent) { r.SyncedAt = time.Time{} }),
		"! Some workspaces need attention. 1 workspace needs attention Last sync 2 seconds ago.": edit(func(r *report.Agent) { r.Workspaces[0].State = "missing" }),
		"! Something failed. The agent will retry. 1 retry is scheduled Last sync 2 seconds ago.": edit(func(r *report.Agent) {
			r.Waiting = []state.Waiting{{Image: "redis", Until: noon}}
		}),
		"… The agent is applying changes. No change needs approval, no spec has errors, and no retry is scheduled. Last sync 2 seconds ago.": edit(func(r *report.Agent) { r.Working = []string{"redis"} }),
	} {
		b.open(serve(t, r).URL)
		if diff := cmp.Diff([]string{want}, b.lines("#summary")); diff != "" {
			t.Errorf("summary (-want +got):\n%s", diff)
		}
	}
	b.open(serve(t, report.Agent{Agent: calm().Agent}).URL)
	b.shows("#workspaces", "There are no workspaces yet. Put a spec file into a folder that the agent watches.")
	b.shows("#recent", "The agent has changed nothing since it started.")
	stuck := serving(calm())
	stuck.Alive = func() bool { return false }
	server := httptest.NewServer(page.Handler(stuck))
	defer server.Close()
	b.open(server.URL)
	b.shows("#summary", "The agent is stuck.", "Restart the agent, and see its log")
	b.quiet()
}

func TestPageUpdatesWithoutReloading(t *testing.T) {
	b, a := openBrowser(t), serve(t, calm())
	b.open(a.URL)
	b.shows("#live", "Live")
	// A reload or a new <main> would lose these two.
	b.do(chromedp.Evaluate[chromedp.Void](`window.mine = document.querySelector("main");
		getSelection().selectAllChildren(document.querySelector("h1 bdi"));`))

	next := busy()
	a.report.Store(&next)
	b.shows("#summary", "Changes need approval, and specs have errors.")
	b.shows("#pending", "scratch", "carrel apply --allow-data-loss")
	b.shows("#workspaces", "bot-7", "retry in 42 seconds")
	if got := value[string](b, "document.title"); got != "! node-1 · carrel" {
		t.Errorf("the title is still %q", got)
	}
	last := calm()
	last.Workspaces = last.Workspaces[:1]
	a.report.Store(&last)
	b.shows("#summary", "All workspaces match their specs.")
	b.shows("#workspaces", "1 workspace: 1 running.")
	if got := b.lines("#pending, #errors, #waiting, #working, #notes"); len(got) != 0 {
		t.Errorf("sections without content are still there: %q", got)
	}
	if !value[bool](b, `window.mine === document.querySelector("main")`) {
		t.Error("the page was loaded again")
	}
	if got := value[string](b, "getSelection().toString()"); got != "node-1" {
		t.Errorf("the selected text is now %q", got)
	}
	b.quiet()
}

func TestPageOfADisconnectedAgent(t *testing.T) {
	b, a := openBrowser(t), serve(t, calm())
	b.open(a.URL)
	b.shows("#live", "Live")
	b.quiet() // the console reports the lost connection too
	a.Close()
	b.shows("#live", "Disconnected since ", "The page shows the last report.")
	b.shows("#workspaces", "redis", "notebook")
	if got := value[string](b, "document.title"); got != "? node-1 · carrel" {
		t.Errorf("the title is %q", got)
	}
	a.restart(t)
	b.shows("#live", "Live")
	if got := value[string](b, "document.title"); got != "✓ node-1 · carrel" {
		t.Errorf("the title is still %q", got)
	}
	if text := b.text("#live"); strings.Contains(text, "Disconnected") {
		t.Errorf("it is connected, and shows %q", text)
	}
}

func TestPageWithoutJavaScript(t *testing.T) {
	b, a := openBrowser(t), serve(t, busy())
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		return tab.Call(ctx, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	}))
	b.open(a.URL)
	b.shows("#live", "As of Wednesday, 4 March 2026, 12:00:00 UTC. Reload to update.")
	b.shows("#summary", "Changes need approval, and specs have errors.")
	b.shows("#pending", "scratch")
	b.shows("#errors", "/etc/carrel/specs/gpu.yaml:5:15")
	if diff := cmp.Diff([]string{"bot-7", "scratch set lab", "stray", "indexer", "notebook", "redis"}, b.lines("#workspaces tbody th")); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	next := calm()
	a.report.Store(&next)
	b.do(chromedp.Reload())
	b.shows("#summary", "All workspaces match their specs.")
	b.quiet()
}

func TestPageOfThousands(t *testing.T) {
	many := busy()
	for i := range 1500 {
		s := many.Workspaces[0]
		s.Workspace = fmt.Sprintf("worker-%04d", i)
		many.Workspaces = append(many.Workspaces, s)
	}
	b, a := openBrowser(t), serve(t, many)
	b.open(a.URL)
	b.shows("#live", "Live")
	if diff := cmp.Diff([]string{"bot-7", "scratch set lab", "stray"}, b.lines("#workspaces tbody th")); diff != "" {
		t.Errorf("visible workspaces (-want +got):\n%s", diff)
	}
	b.shows("#healthy summary", "1503 others need no attention: 1502 running, 1 stopped")
	b.do(chromedp.Click(chromedp.CSS("#healthy summary")))
	b.shows("#healthy", "worker-0000", "worker-1499")

	next := many
	next.Pending = nil
	a.report.Store(&next)
	b.shows("#healthy summary", "1504 others need no attention")
	b.shows("#healthy", "worker-1499") // it is still unfolded
	b.quiet()
}

// TestPageOfAnything checks that no text in names, errors and images can harm
// the page or its layout.
func TestPageOfAnything(t *testing.T) {
	evil := `"><script>window.evil=1</script><img src=x onerror="window.evil=1">'{{.}}` + "\u202e"
	long := strings.Repeat("x", 3000)
	r := busy()
	r.Agent.Host, r.Agent.Set, r.Agent.Version, r.Agent.Paths = evil, evil, evil, []string{evil, long}
	r.Trouble, r.Working, r.Notes = evil+long, []string{evil, long}, []string{evil, long}
	r.Pending = []state.Pending{{Workspace: evil, Action: evil, Why: long}}
	r.Waiting = []state.Waiting{{Workspace: long, Why: evil}, {Image: evil, Why: long}}
	r.Errors = []state.SpecError{{Position: evil, Text: long}, {Text: evil}}
	r.Workspaces = []report.Status{{Workspace: evil, Set: long, State: report.State(evil), Address: evil, Image: long, Digest: evil + ":" + evil, LastError: evil + long}}
	r.Recent = []state.Recent{{Workspace: evil, Action: long, Reason: evil, Error: long}}
	b, a := openBrowser(t), serve(t, r)
	b.do(chromedp.EmulateViewport(390, 800))
	b.open(a.URL)
	b.shows("#live", "Live")
	for _, selector := range []string{"h1", "#summary", "#working", "#pending", "#waiting", "#errors", "#workspaces", "#recent", "#notes", "#agent"} {
		b.shows(selector, strings.TrimSuffix(evil, "\u202e"))
	}
	for _, width := range []int64{360, 720, 1280} {
		b.do(chromedp.EmulateViewport(width, 800))
		if over := value[int](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("at a width of %d, %d pixels are out of sight", width, over)
		}
	}
	if value[bool](b, `"evil" in window`) || value[int](b, `document.querySelectorAll("main script, main img").length`) > 0 {
		t.Error("a name became a part of the page")
	}
	b.quiet()
}

// TestPageForEveryone checks what screen readers rely on.
func TestPageForEveryone(t *testing.T) {
	b, a := openBrowser(t), serve(t, busy())
	b.open(a.URL)
	for what, expression := range map[string]string{
		"no language":               `document.documentElement.lang === "en" ? [] : ["html"]`,
		"a table without a caption": `[...document.querySelectorAll("table")].filter(t => !t.caption?.innerText)`,
		"a head without a scope":    `[...document.querySelectorAll("th:not([scope])")]`,
		"a row without a head":      `[...document.querySelectorAll("tbody tr:not(.more)")].filter(r => !r.querySelector("th[scope=row]"))`,
		"a section without a name":  `[...document.querySelectorAll("section")].filter(s => !s.ariaLabel && !document.getElementById(s.getAttribute("aria-labelledby"))?.innerText)`,
		"a state without a word":    `[...document.querySelectorAll(".state")].filter(s => !s.innerText)`,
		"a time without the exact":  `[...document.querySelectorAll("main time")].filter(t => !t.dateTime || !t.title)`,
		"a link to nowhere":         `[...document.querySelectorAll("main a")].filter(l => !document.querySelector(l.getAttribute("href")))`,
		"headings":                  `document.querySelectorAll("h1").length === 1 ? [] : ["h1"]`,
		"an id that is there twice": `[...document.querySelectorAll("[id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)`,
	} {
		if n := value[int](b, "("+expression+").length"); n != 0 {
			t.Errorf("%d times %s", n, what)
		}
	}
	b.quiet()
}
