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

// lines is what one sees of each element, with the white space of a sentence.
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
		"h1":                     {"node-1 set bots"},
		"#verdict .line":         {"! Something needs a person."},
		"#verdict li":            {"1 change waits for a person", "1 fault in specs", "2 things are tried again later", "3 workspaces need a look"},
		"#working li":            {"indexer", "ghcr.io/team/indexer:3"},
		"#pending tbody tr":      {"scratch delete its spec is gone and it has data: carrel apply --allow-data-loss deletes it"},
		"#faults tbody tr":       {`/etc/carrel/specs/gpu.yaml:5:15 this host has no device "nvidia.com/gpu=7" (it has nvidia.com/gpu=0, nvidia.com/gpu=1) 3 hours ago`},
		"#waiting tbody tr":      {"bot-7 its task ended 5 times within a minute 5 in 42 seconds", "image ghcr.io/team/bot:9 the registry answers 503 2 in 3 minutes"},
		"#workspaces caption":    {"6 workspaces: 2 running, 2 stopped, 1 orphan, 1 stopped by user."},
		"#workspaces tbody.look": {"bot-7 stopped exit code 1, was out of memory, restarted 5 times next try in 42 seconds 20 seconds ago – ghcr.io/team/bot:8 ba5eba11ba5e start bot-7: the command ended at once with code 1", "scratch set lab stopped by user a change waits for a person – host docker.io/library/debian:13", "stray orphan – – –"},
		"#workspaces tbody:not(.look)": {
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
		"#agent div": {"Host node-1", "Set bots", "Last look 2 seconds ago", "Up since 3 days ago", "Version v1.4.0", "Watches /etc/carrel/specs"},
	} {
		if diff := cmp.Diff(want, b.lines(selector)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", selector, diff)
		}
	}
	if got := value[string](b, "document.title"); got != "! node-1 · carrel" {
		t.Errorf("the title is %q", got)
	}
	stamp := value[string](b, `(t => t.dateTime + " " + t.title)(document.querySelector("#faults time"))`)
	if stamp != "2026-03-04T09:00:00Z Wednesday, 4 March 2026, 09:00:00 UTC" {
		t.Errorf("the exact time is %q", stamp)
	}
	b.quiet()
}

// TestPageInShort is about the first line, which is all that many will read.
func TestPageInShort(t *testing.T) {
	b := openBrowser(t)
	edit := func(fn func(r *report.Agent)) report.Agent {
		r := calm()
		fn(&r)
		return r
	}
	for want, r := range map[string]report.Agent{
		"✓ Everything is as the specs say. No change waits for a person, no spec has a fault, and nothing has to be tried again. Last look 2 seconds ago.": calm(),
		"✕ The agent cannot do its work now. containerd is away Last look 2 seconds ago.":                                                                  edit(func(r *report.Agent) { r.Trouble = "containerd is away" }),
		"… The agent has not looked yet.": edit(func(r *report.Agent) { r.SyncedAt = time.Time{} }),
		"! Not every workspace is as it should be. 1 workspace needs a look Last look 2 seconds ago.": edit(func(r *report.Agent) { r.Workspaces[0].State = "missing" }),
		"! Something failed, and is tried again. 1 thing is tried again later Last look 2 seconds ago.": edit(func(r *report.Agent) {
			r.Waiting = []state.Waiting{{Image: "redis", Until: noon}}
		}),
		"… The agent is at work. No change waits for a person, no spec has a fault, and nothing has to be tried again. Last look 2 seconds ago.": edit(func(r *report.Agent) { r.Working = []string{"redis"} }),
	} {
		b.open(serve(t, r).URL)
		if diff := cmp.Diff([]string{want}, b.lines("#verdict")); diff != "" {
			t.Errorf("in short (-want +got):\n%s", diff)
		}
	}
	b.open(serve(t, report.Agent{Agent: calm().Agent}).URL)
	b.shows("#workspaces", "There are none yet. Put a spec where the agent watches")
	b.shows("#recent", "The agent has changed nothing since it started.")
	stuck := serving(calm())
	stuck.Alive = func() bool { return false }
	server := httptest.NewServer(page.Handler(stuck))
	defer server.Close()
	b.open(server.URL)
	b.shows("#verdict", "The agent is stuck.", "restart it, and see its log")
	b.quiet()
}

func TestPageUpdatesWithoutReloading(t *testing.T) {
	b, a := openBrowser(t), serve(t, calm())
	b.open(a.URL)
	b.shows("#live", "Live")
	// What a reload, or a new <main>, would lose.
	b.do(chromedp.Evaluate[chromedp.Void](`window.mine = document.querySelector("main");
		getSelection().selectAllChildren(document.querySelector("h1 bdi"));`))

	next := busy()
	a.report.Store(&next)
	b.shows("#verdict", "Something needs a person.")
	b.shows("#pending", "scratch", "carrel apply --allow-data-loss")
	b.shows("#workspaces", "bot-7", "next try in 42 seconds")
	if got := value[string](b, "document.title"); got != "! node-1 · carrel" {
		t.Errorf("the title is still %q", got)
	}
	last := calm()
	last.Workspaces = last.Workspaces[:1]
	a.report.Store(&last)
	b.shows("#verdict", "Everything is as the specs say.")
	b.shows("#workspaces", "1 workspace: 1 running.")
	if got := b.lines("#pending, #faults, #waiting, #working, #notes"); len(got) != 0 {
		t.Errorf("what is over is still there: %q", got)
	}
	if !value[bool](b, `window.mine === document.querySelector("main")`) {
		t.Error("the page was loaded again")
	}
	if got := value[string](b, "getSelection().toString()"); got != "node-1" {
		t.Errorf("what was selected is now %q", got)
	}
	b.quiet()
}

func TestPageSaysThatTheAgentIsAway(t *testing.T) {
	b, a := openBrowser(t), serve(t, calm())
	b.open(a.URL)
	b.shows("#live", "Live")
	b.quiet() // what follows is an error for the console too
	a.Close()
	b.shows("#live", "Not connected since ", "What is below is what the agent said then.")
	b.shows("#workspaces", "redis", "notebook")
	if got := value[string](b, "document.title"); got != "? node-1 · carrel" {
		t.Errorf("the title is %q", got)
	}
	a.comeBack(t)
	b.shows("#live", "Live")
	if got := value[string](b, "document.title"); got != "✓ node-1 · carrel" {
		t.Errorf("the title is still %q", got)
	}
	if text := b.text("#live"); strings.Contains(text, "Not connected") {
		t.Errorf("it is connected, and says %q", text)
	}
}

func TestPageWithoutJavaScript(t *testing.T) {
	b, a := openBrowser(t), serve(t, busy())
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		return tab.Call(ctx, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	}))
	b.open(a.URL)
	b.shows("#live", "As it was Wednesday, 4 March 2026, 12:00:00 UTC. Reload for news.")
	b.shows("#verdict", "Something needs a person.")
	b.shows("#pending", "scratch")
	b.shows("#faults", "/etc/carrel/specs/gpu.yaml:5:15")
	if diff := cmp.Diff([]string{"bot-7", "scratch set lab", "stray", "indexer", "notebook", "redis"}, b.lines("#workspaces tbody th")); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	next := calm()
	a.report.Store(&next)
	b.do(chromedp.Reload())
	b.shows("#verdict", "Everything is as the specs say.")
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
		t.Errorf("in sight (-want +got):\n%s", diff)
	}
	b.shows("#healthy summary", "1503 others need no look: 1502 running, 1 stopped")
	b.do(chromedp.Click(chromedp.CSS("#healthy summary")))
	b.shows("#healthy", "worker-0000", "worker-1499")

	next := many
	next.Pending = nil
	a.report.Store(&next)
	b.shows("#healthy summary", "1504 others need no look")
	b.shows("#healthy", "worker-1499") // it is still unfolded
	b.quiet()
}

// TestPageOfAnything is about what others put into names, errors and images.
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
	for _, selector := range []string{"h1", "#verdict", "#working", "#pending", "#waiting", "#faults", "#workspaces", "#recent", "#notes", "#agent"} {
		b.shows(selector, strings.TrimSuffix(evil, "\u202e"))
	}
	for _, width := range []int64{360, 720, 1280} {
		b.do(chromedp.EmulateViewport(width, 800))
		if over := value[int](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("at a width of %d, %d are out of sight", width, over)
		}
	}
	if value[bool](b, `"evil" in window`) || value[int](b, `document.querySelectorAll("main script, main img").length`) > 0 {
		t.Error("a name became a part of the page")
	}
	b.quiet()
}

// TestPageForEveryone checks what those rely on who do not see the page.
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
