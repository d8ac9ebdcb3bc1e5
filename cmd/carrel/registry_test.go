package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"carrel/drivers/drivertest"
)

// This file has the commands of scripts for images and their registries.

func registryOf(ts *testscript.TestScript) *drivertest.Registry {
	return ts.Value("registry").(*drivertest.Registry)
}

// push-index REPOSITORY:TAG [PLATFORM...] pushes an index that lists the image for
// platforms such as linux/arm64; unknown/unknown is that of attestations.
func pushIndex(ts *testscript.TestScript, _ bool, args []string) {
	registryOf(ts).PushIndex(tb(ts), args[0], drivertest.Index(tb(ts), image(ts, "v1", nil), args[1:]...))
}

// answer TIMES STATUS [HEADER=VALUE...] makes the script's registry answer so, and not
// in its own way, to its next requests. Requests are counted anew.
func answer(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	header := http.Header{}
	for _, pair := range args[2:] {
		key, value, _ := strings.Cut(pair, "=")
		header.Set(key, value)
	}
	registryOf(ts).Refuse(times, status, header, "")
}

// asked COUNT PREFIX checks how many requests of the script's registry began with a
// text such as "HEAD /v2/bot".
func asked(ts *testscript.TestScript, _ bool, args []string) {
	if n := registryOf(ts).Count(args[1]); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d requests began with %s", n, args[1])
	}
}

// proxy ADDRESS has the programs of the script find the registry at this address,
// which is not on the loopback.
func proxy(ts *testscript.TestScript, _ bool, args []string) {
	host := registryOf(ts).Host
	plain := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host = host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != args[0]:
			w.WriteHeader(http.StatusBadGateway)
		case r.Method == http.MethodConnect:
			tunnel(w, host)
		default:
			plain.ServeHTTP(w, r)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv("HTTP_PROXY", server.URL)
	ts.Setenv("HTTPS_PROXY", server.URL)
}

// tunnel connects the two ends of a request.
func tunnel(w http.ResponseWriter, host string) {
	server, err := net.Dial("tcp", host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { io.Copy(server, client); server.Close() }()
	io.Copy(client, server)
}

// archives FILE TAG=VERSION... writes images as one OCI archive, compressed when the
// name of the file ends in .gz or .zst.
func archives(ts *testscript.TestScript, _ bool, args []string) {
	images := map[string]v1.Image{}
	for _, pair := range args[1:] {
		tag, version, _ := strings.Cut(pair, "=")
		images[tag] = image(ts, version, nil)
	}
	drivertest.ArchiveNamed(tb(ts), ts.MkAbs(args[0]), images)
}

// archive-index FILE [PLATFORM...] writes an index as an OCI archive.
func archiveIndex(ts *testscript.TestScript, _ bool, args []string) {
	drivertest.ArchiveIndex(tb(ts), ts.MkAbs(args[0]), drivertest.Index(tb(ts), image(ts, "v1", nil), args[1:]...))
}
