// Command agent is the program of the example workspaces: it notes each of its
// starts in its data, and shows the notes over HTTP until it is stopped. PORT is
// the port of the loopback on which it listens, 8080 when it is not set.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// stopTimeout is how long requests may take to end when the agent is stopped.
const stopTimeout = 2 * time.Second

func main() {
	if err := run(); err != nil {
		log.Fatal("agent: ", err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	version := cmp.Or(os.Getenv("AGENT_VERSION"), "unknown")
	notes := filepath.Join(cmp.Or(os.Getenv("AGENT_DATA"), "/data"), "starts.log")
	if err := note(notes, version); err != nil {
		return err
	}
	server := &http.Server{
		Addr: "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080"),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			text, err := os.ReadFile(notes)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "this is agent %s, and its data remembers:\n%s", version, text)
		}),
		ReadHeaderTimeout: stopTimeout,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		stopped <- server.Shutdown(ending)
	}()
	log.Printf("agent %s: serving %s at %s", version, notes, server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("agent: stopped")
	return <-stopped
}

// note appends a line for this start.
func note(path, version string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s started %s\n", version, time.Now().UTC().Format(time.RFC3339))
	return errors.Join(err, f.Close())
}
