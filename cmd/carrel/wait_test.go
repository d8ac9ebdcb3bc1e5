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

// This file has the commands of scripts that wait for an agent, and those that
// stop and start servers. The agent works in the background, so the commands
// repeat a question until the answer matches.

const (
	askAgain = 30 * time.Millisecond // between two questions
	patience = time.Minute           // until the command fails; usually a second or two are enough
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
			ts.Fatalf("%v never matches %s; the last output:\n%s", args[1:], args[0], last)
		}
	}
}

// until-get PATTERN URL requests a page until its status and text match.
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
			ts.Fatalf("%s never matches %s; the last response: %v\n%s", args[1], args[0], err, last)
		}
	}
}

// servers are the private servers of a script.
type servers struct {
	client     *client.Client // of the script's containerd and namespace
	containerd *drivertest.Containerd
	postgres   *drivertest.Postgres
}

func serversOf(ts *testscript.TestScript) *servers { return ts.Value("servers").(*servers) }

func clientOf(ts *testscript.TestScript) *client.Client { return serversOf(ts).client }

// own-containerd starts a containerd that the script can kill.
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

// own-postgres starts a Postgres that the script can kill.
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

// hangup sends SIGHUP to the background programs of the script.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGHUP))
	}
}
