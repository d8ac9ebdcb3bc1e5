package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// probe runs a command that a limit or a mount may refuse. It reports whether it knows
// the command.
func probe(command, arg, other string) bool {
	switch command {
	case "eat":
		eat(arg)
	case "hold": // memory, until it is told to end
		held := eat(arg)
		serve()
		runtime.KeepAlive(held)
	case "later": // uses memory when it has run long enough to count as started
		time.Sleep(time.Second)
		eat(arg)
	case "nurse": // outlives a child that uses up memory
		child := exec.Command("/guest", "eat", arg)
		fmt.Println("child:", child.Run())
		serve()
	case "threads":
		threads(arg)
	case "web": // answers with its name, and prints the addresses that it has when it starts
		web()
	case "get":
		get(arg)
	case "bind":
		listener, err := net.Listen("tcp", arg)
		check(err)
		check(listener.Close())
	case "ping":
		ping(arg)
	case "read":
		text, err := os.ReadFile(arg)
		check(err)
		fmt.Print(string(text))
	case "group": // a file of its own control group, by its name in version 1 and in version 2
		group(arg, other)
	case "write":
		check(os.WriteFile(arg, []byte("written"), 0o600))
	default:
		return false
	}
	return true
}

func group(v1, v2 string) {
	controller, _, _ := strings.Cut(v1, ".")
	text, err := os.ReadFile("/sys/fs/cgroup/" + controller + "/" + v1)
	if err != nil {
		text, err = os.ReadFile("/sys/fs/cgroup/" + v2)
	}
	check(err)
	fmt.Print(string(text))
}

// eat uses so many MiB of memory.
func eat(mebibytes string) [][]byte {
	n, err := strconv.Atoi(mebibytes)
	check(err)
	var all [][]byte
	for range n {
		chunk := make([]byte, 1<<20)
		for i := 0; i < len(chunk); i += os.Getpagesize() {
			chunk[i] = 1
		}
		all = append(all, chunk)
	}
	fmt.Println("ate", n)
	return all
}

// threads starts so many threads at the same time. The Go runtime ends the process when
// the kernel refuses one.
func threads(count string) {
	n, err := strconv.Atoi(count)
	check(err)
	var all sync.WaitGroup
	enough := make(chan struct{})
	all.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread()
			all.Done()
			<-enough
		}()
	}
	all.Wait()
	close(enough)
	fmt.Println("threads", n)
}

func web() {
	addresses, err := net.InterfaceAddrs()
	check(err)
	fmt.Println("addresses", addresses)
	listener, err := net.Listen("tcp", ":8080")
	check(err)
	go func() {
		for {
			caller, err := listener.Accept()
			check(err)
			name, err := os.Hostname()
			check(err)
			fmt.Fprintln(caller, "hello from", name)
			check(caller.Close())
		}
	}()
	serve()
}

// get prints what a server answers.
func get(address string) {
	conn, err := net.Dial("tcp", address)
	check(err)
	text, err := io.ReadAll(conn)
	check(err)
	fmt.Print(string(text))
}

// ping sends an echo request as a user without rights can, and waits for the answer.
func ping(address string) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, syscall.IPPROTO_ICMP)
	check(err)
	to := &syscall.SockaddrInet4{Addr: netip.MustParseAddr(address).As4()}
	check(syscall.Sendto(socket, []byte{8, 0, 0, 0, 0, 0, 0, 1}, 0, to)) // the kernel writes the checksum
	n, _, err := syscall.Recvfrom(socket, make([]byte, 64), 0)
	check(err)
	fmt.Println("answer of", n, "bytes")
}
