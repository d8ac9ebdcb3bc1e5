// Command guest is the program in test images. Its first argument says what it does:
// it serves, exits, ignores signals, or uses up what a limit restricts.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := append(os.Args[1:], "", "", "")
	switch args[0] {
	case "serve":
		serve()
	case "exit":
		code, err := strconv.Atoi(args[1])
		check(err)
		os.Exit(code)
	case "brief": // serves for so many milliseconds
		lasts, err := strconv.Atoi(args[1])
		check(err)
		fmt.Println("brief")
		time.Sleep(time.Duration(lasts) * time.Millisecond)
		os.Exit(9)
	case "deaf": // ends on SIGKILL only
		ignored := make(chan os.Signal, 1)
		signal.Notify(ignored, syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("deaf", os.Getpid())
		for range ignored {
		}
	case "family":
		child := exec.Command("/guest", "deaf")
		child.Stdout = os.Stdout
		check(child.Start())
		serve()
	case "spam":
		for i := 0; ; i++ {
			fmt.Println("line", i)
			time.Sleep(time.Millisecond)
		}
	default:
		if probe(args[0], args[1], args[2]) {
			return
		}
		check(fmt.Errorf("guest does not know %q", args[0]))
	}
}

// serve prints its environment, adds a line to a file in its data, and waits for a
// signal.
func serve() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	dir, err := os.Getwd()
	check(err)
	fmt.Println("uid", os.Getuid(), "gid", os.Getgid(), "cwd", dir, "args", strings.Join(os.Args, " "))
	name, err := os.Hostname()
	check(err)
	fmt.Println("host", name)
	for _, pair := range os.Environ() {
		fmt.Println("env", pair)
	}
	for _, path := range []string{"/proc/self/status", "/proc/mounts"} {
		text, err := os.ReadFile(path)
		check(err)
		fmt.Print(string(text))
	}
	f, err := os.OpenFile("/data/starts", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		fmt.Fprintln(f, "start")
		check(f.Close())
	} else {
		fmt.Println("data:", err)
	}
	fmt.Println("serving")
	fmt.Println("got", <-ended)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
