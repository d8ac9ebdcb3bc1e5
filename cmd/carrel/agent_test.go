package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carrel/plan/report"
)

// watcher is an agent in a process of its own.
type watcher struct {
	t       testing.TB
	cmd     *exec.Cmd
	address string
	end     func() // ends it, once

	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

// watch starts an agent and waits until it listens. It ends with the test.
func (b *bed) watch(args ...string) *watcher {
	b.t.Helper()
	w := &watcher{t: b.t, ended: make(chan struct{})}
	w.cmd = b.command(append([]string{"watch", "--listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	log, err := w.cmd.StderrPipe()
	b.must(err)
	b.must(w.cmd.Start())
	listening := make(chan string, 1)
	go w.read(log, listening)
	select {
	case w.address = <-listening:
	case <-w.ended:
		b.t.Fatalf("the agent ended:\n%s", w.log())
	}
	w.end = sync.OnceFunc(w.stop)
	b.t.Cleanup(w.end)
	return w
}

func (w *watcher) read(log io.Reader, listening chan<- string) {
	defer close(w.ended)
	for scanner := bufio.NewScanner(log); scanner.Scan(); {
		w.mu.Lock()
		w.lines = append(w.lines, scanner.Text())
		w.mu.Unlock()
		var line struct{ Msg, Address string }
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line.Msg == "listening" {
			listening <- line.Address
		}
	}
}

// log is the agent's log.
func (w *watcher) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// stop stops the agent, which has to exit with 0.
func (w *watcher) stop() {
	select {
	case <-w.ended:
		w.t.Errorf("the agent ended before it was stopped:\n%s", w.log())
	default:
	}
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Error(err)
	}
	<-w.ended
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("the agent ended with %v:\n%s", err, w.log())
	}
}

// report is the agent's report.
func (w *watcher) report() report.Agent {
	w.t.Helper()
	var r report.Agent
	if err := json.Unmarshal([]byte(w.get("/status")), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *watcher) get(path string) string {
	w.t.Helper()
	answer, err := http.Get(w.address + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// metric is the value of a metric without labels.
func (w *watcher) metric(name string) float64 {
	w.t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(w.get("/metrics"))
	if found == nil {
		w.t.Fatalf("there is no metric %s", name)
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

// eventually waits until a report meets a condition.
func (w *watcher) eventually(what string, ok func(report.Agent) bool) report.Agent {
	w.t.Helper()
	limit := time.After(10 * patience)
	for {
		r := w.report()
		if ok(r) {
			return r
		}
		select {
		case <-limit:
			w.t.Fatalf("it never happens that %s: %s\n%s", what, fmt.Sprintf("%+v", r), w.log())
		case <-w.ended:
			w.t.Fatalf("the agent ended:\n%s", w.log())
		case <-time.After(askAgain):
		}
	}
}

// running is how many workspaces run.
func running(r report.Agent) int {
	n := 0
	for _, s := range r.Workspaces {
		if s.Running {
			n++
		}
	}
	return n
}

// TestAgentKilledAtAnyMoment kills agents at random moments while files change.
// The next agent has to reach the state of a host on which none was killed.
func TestAgentKilledAtAnyMoment(t *testing.T) {
	b := newBed(t)
	const workspaces, rounds = 4, 10
	images := []string{b.archive("v1"), b.archive("v2")}
	specs := b.networked(workspaces, images[0], "cni", "")
	began := time.Now()
	b.run("apply", specs)
	whole := 2 * time.Since(began)
	good := map[string]string{images[0]: b.settled()}
	b.networked(workspaces, images[1], "cni", "")
	b.run("apply", specs)
	good[images[1]] = b.settled()
	for round := range rounds {
		image := images[round%2]
		b.networked(workspaces, image, "cni", "")
		for range 2 {
			b.kill(whole, "watch", specs, "--listen", "none")
		}
		agent := b.watch(specs)
		agent.eventually("nothing is left to do", func(r report.Agent) bool {
			if len(r.Pending) > 0 { // a change that a kill made fail was rolled back, and needs approval
				b.run("apply", specs)
			}
			return running(r) == workspaces && len(r.Working)+len(r.Waiting)+len(r.Errors) == 0 && strings.Contains(b.run("plan", specs), "Nothing to do")
		})
		agent.end()
		if got := withoutAgents(b.settled()); got != good[image] {
			t.Fatalf("round %d: the end differs from that of a good run:\n%s\nwant:\n%s\n%s", round, got, good[image], agent.log())
		}
	}
}

// withoutAgents is a status without the lines about agents.
func withoutAgents(world string) string {
	text, _, _ := strings.Cut(world, "\nagent of set ")
	return text
}
