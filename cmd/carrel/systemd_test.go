package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carrel/plan/report"
)

// TestSystemdIsNotified takes the place of systemd: it receives what the agent sends.
func TestSystemdIsNotified(t *testing.T) {
	b := newBed(t)
	dir, err := os.MkdirTemp("", "notify") // the path of a socket is short
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	b.must(err)
	defer socket.Close()
	received := make(chan string, 100)
	go func() {
		for text := make([]byte, 4096); ; {
			n, err := socket.Read(text)
			if err != nil {
				return
			}
			received <- string(text[:n])
		}
	}()
	expect := func(want string) {
		t.Helper()
		for limit := time.After(patience); ; {
			select {
			case line := <-received:
				if strings.HasPrefix(line, want) {
					return
				}
			case <-limit:
				t.Fatalf("systemd does not receive %q", want)
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")
	specs := b.specs(1, b.archive("v1"), "")
	agent := b.watch(specs)
	expect("READY=1")
	expect("STATUS=1 of 1 workspace running, 0 pending, 0 waiting, 0 errors")
	expect("WATCHDOG=1")
	agent.eventually("it runs", func(r report.Agent) bool { return running(r) == 1 && len(r.Working) == 0 })
	b.must(agent.cmd.Process.Signal(syscall.SIGHUP))
	expect("RELOADING=1\nMONOTONIC_USEC=")
	expect("READY=1")
	b.must(os.WriteFile(filepath.Join(specs, "broken.yaml"), []byte("kind: ["), 0o644))
	expect("STATUS=1 of 1 workspace running, 0 pending, 0 waiting, 1 error")
	agent.end()
	expect("STOPPING=1")
}
