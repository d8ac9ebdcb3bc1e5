package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/rogpeppe/go-internal/testscript"

	"carrel/drivers/drivertest"
)

// Commands of scripts that wait for an agent: they ask again and again, for it
// works beside them.

// askAgain is between two questions, and patience with all of them: what is
// waited for takes a second or two.
const (
	askAgain = 30 * time.Millisecond
	patience = time.Minute
)

// until PATTERN COMMAND ARG... runs a command until it succeeds and its output
// matches; with ! until it does not match.
func until(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	last, limit := "", time.After(patience)
	for {
		err := ts.Exec(args[1], args[2:]...)
		last = ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if err == nil && pattern.MatchString(last) != neg {
			return
		}
		select {
		case <-time.After(askAgain):
		case <-limit:
			ts.Fatalf("%v never answers %s; the last answer:\n%s", args[1:], args[0], last)
		}
	}
}

// until-get PATTERN URL asks for a page until it matches, its status included.
func untilGet(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	last, limit := "", time.After(patience)
	for {
		answer, err := http.Get(args[1])
		if err == nil {
			body, failed := io.ReadAll(answer.Body)
			answer.Body.Close()
			ts.Check(failed)
			last = fmt.Sprintf("%d\n%s", answer.StatusCode, body)
			if pattern.MatchString(last) != neg {
				fmt.Fprint(ts.Stdout(), last)
				return
			}
		}
		select {
		case <-time.After(askAgain):
		case <-limit:
			ts.Fatalf("%s never answers %s; the last answer: %v\n%s", args[1], args[0], err, last)
		}
	}
}

// servers are those that a script has for itself, to end them.
type servers struct {
	client     *client.Client // of the script's containerd and namespace
	containerd *drivertest.Containerd
	postgres   *drivertest.Postgres
}

func serversOf(ts *testscript.TestScript) *servers { return ts.Value("servers").(*servers) }

func clientOf(ts *testscript.TestScript) *client.Client { return serversOf(ts).client }

// own-containerd gives the script a containerd that it can end.
func ownContainerd(ts *testscript.TestScript, _ bool, _ []string) {
	serversOf(ts).containerd = drivertest.NewContainerd(tb(ts))
	serversOf(ts).client = serversOf(ts).containerd.Client(tb(ts), ts.Getenv("CARREL_NAMESPACE"))
	ts.Setenv("CARREL_ADDRESS", serversOf(ts).containerd.Address)
}

func endContainerd(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(serversOf(ts).containerd.Kill())
}

func startContainerd(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(serversOf(ts).containerd.Start())
}

// own-postgres gives the script a Postgres that it can end.
func ownPostgres(ts *testscript.TestScript, _ bool, _ []string) {
	serversOf(ts).postgres = drivertest.NewPostgres(tb(ts))
	ts.Setenv("CARREL_STORE", serversOf(ts).postgres.Database(tb(ts)))
}

func endPostgres(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(serversOf(ts).postgres.Kill())
}

func startPostgres(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(serversOf(ts).postgres.Start())
}

// hangup sends SIGHUP to what runs in the background.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}
