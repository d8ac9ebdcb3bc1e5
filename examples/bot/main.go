// Command bot is the program of the example workspaces. It records each of its
// starts in a file below /data and serves that file over HTTP on loopback, at the
// port in PORT (default 8080).
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

// stopTimeout is how long requests may take to end when the bot is stopped.
const stopTimeout = 2 * time.Second

func main() {
	if err := run(); err != nil {
		log.Fatal("bot: ", err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	version := cmp.Or(os.Getenv("BOT_VERSION"), "unknown")
	starts := filepath.Join(cmp.Or(os.Getenv("BOT_DATA"), "/data"), "starts.log")
	if err := record(starts, version); err != nil {
		return err
	}
	server := &http.Server{
		Addr: "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080"),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			text, err := os.ReadFile(starts)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "this is bot %s; its data has:\n%s", version, text)
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
	log.Printf("bot %s: serving %s at %s", version, starts, server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	log.Print("bot: stopped")
	return <-stopped
}

// record appends a line for this start.
func record(path, version string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s started %s\n", version, time.Now().UTC().Format(time.RFC3339))
	return errors.Join(err, f.Close())
}
