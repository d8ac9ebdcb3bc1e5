package images_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"carrel/drivers/drivertest"
	"carrel/spec"
)

// wantRefused checks that an image is refused, by its pull and when its registry is
// asked, in one line.
func (b *bench) wantRefused(ref, want string) {
	b.t.Helper()
	w := spec.Default()
	w.Image, w.ImagePullPolicy = ref, spec.PullAlways
	if got := b.asked(w); !strings.Contains(got.Err, want) || !got.Wrong || strings.Contains(got.Err, "\n") {
		b.t.Errorf("%s is observed as %+v, want %q", ref, got, want)
	}
	if err := pull(b, ref); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		b.t.Errorf("the pull of %s: %v, want %q", ref, err, want)
	}
}

func TestWhatThisHostCannotUseIsRefused(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	image := drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir))
	host := "linux/" + hostPlatform(t).Architecture
	index := func(tag string, on ...string) string {
		return registry.PushIndex(t, tag, drivertest.Index(t, image, on...))
	}
	b.wantRefused(index("bot:arm", "linux/s390x", "linux/arm/v7", "linux/s390x"), "it has linux/s390x, linux/arm/v7, this host needs "+host+" (")
	b.wantRefused(index("bot:attested", "unknown/unknown"), "its index lists only attestations, and no image")
	b.wantRefused(index("bot:empty"), "its index lists no image")
	chart := mutate.ConfigMediaType(image, "application/vnd.cncf.helm.config.v1+json")
	b.wantRefused(registry.Push(t, "chart:v1", chart), `it is no container image but "application/vnd.cncf.helm.config.v1+json"`)
	layers, err := image.Layers()
	b.must(err)
	signature, err := mutate.Append(image, mutate.Addendum{Layer: layers[0], MediaType: "application/vnd.dev.cosign.simplesigning.v1+json"})
	b.must(err)
	b.wantRefused(registry.Push(t, "bot:signature", signature), `it is no container image but "application/vnd.dev.cosign.simplesigning.v1+json"`)
	b.wantRefused(registry.Host+"/bot:none", "was not found in its registry")

	if n := registry.Count("GET /v2/bot/blobs/"); n != 0 {
		t.Errorf("%d layers were fetched", n)
	}
	b.must(pull(b, index("bot:both", "linux/s390x", host)))
	b.create("ours", registry.Host+"/bot:both")
}

func TestAnswersOfWhatIsNoRegistry(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	for _, test := range []struct {
		status          int
		mediaType, want string
	}{
		{200, "text/html; charset=utf-8", "answers with a page of type text/html (200 OK), as no registry does"},
		{404, "text/html", "answers with a page of type text/html (404 Not Found), as no registry does"},
		{200, "text/plain", "answers with a page of type text/plain (200 OK), as no registry does"},
		{200, "application/json", `it is no container image but "application/json"`},
		{200, string(types.DockerManifestSchema1Signed), "its manifest has schema 1, which containerd does not read any more"},
	} {
		registry.Refuse(-1, test.status, http.Header{"Content-Type": {test.mediaType}}, "{}")
		b.wantRefused(registry.Host+"/bot:v1", test.want)
	}
}

// A registry is asked only once what a digest is.
func TestManifestsAreInspectedOnce(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	w := spec.Default()
	w.ImagePullPolicy = spec.PullAlways
	w.Image = registry.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir)))
	for range 3 {
		if got := b.asked(w); got.Source == "" || got.Err != "" {
			t.Errorf("observed as %+v", got)
		}
	}
	if n := registry.Count("GET /v2/bot/manifests/"); n != 1 {
		t.Errorf("the manifest was fetched %d times", n)
	}
}

func TestRegistriesThatFail(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	image := drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir))
	ref := registry.Push(t, "bot:v1", image)
	config, err := image.RawConfigFile()
	b.must(err)
	denied, err := json.Marshal(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": "no pull right"}}})
	b.must(err)
	blob := func(answer func(w http.ResponseWriter)) {
		registry.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			answer(w)
			return true
		})
	}
	for name, test := range map[string]struct {
		set  func()
		want string
	}{
		"forbidden":     {func() { registry.Refuse(-1, 403, nil, string(denied)) }, "denies image " + ref + ": it does not have it, or these credentials have no right to it (docker login "},
		"why forbidden": {func() { registry.Refuse(-1, 403, nil, string(denied)) }, "no pull right"},
		"an error":      {func() { registry.Refuse(-1, 500, nil, "") }, "has an error of its own"},
		"a gateway":     {func() { registry.Refuse(-1, 502, http.Header{"Content-Type": {"text/html"}}, "<html>") }, "has an error of its own"},
		"busy":          {func() { registry.Refuse(-1, 429, http.Header{"Retry-After": {"3000"}}, "") }, "accepts no more requests before"},
		"lost":          {func() { blob(func(w http.ResponseWriter) { w.WriteHeader(404) }) }, "its registry has lost a part of it (push it again)"},
		"damaged": {func() {
			blob(func(w http.ResponseWriter) { w.Write(bytes.Repeat([]byte("x"), len(config))) })
		}, "is damaged (apply again; if that does not help, push it again)"},
	} {
		b := newBench(t) // with a memory of its own of registries that are busy
		test.set()
		err := pull(b, ref)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// A registry on the loopback may speak plain http, at any port; what hosts.toml says
// counts.
func TestLocalRegistriesMaySpeakPlainHTTP(t *testing.T) {
	b := newBench(t)
	image := drivertest.Image(t, v1.Config{})
	for _, at := range []string{"127.0.0.1:0", loopback() + ":80", loopback() + ":443"} {
		registry := drivertest.NewRegistryAt(t, at)
		registry.Push(t, "bot:v1", image)
		host := strings.TrimSuffix(registry.Host, ":80")
		b.must(pull(b, host+"/bot:v1"))
	}
	registry := drivertest.NewRegistry(t)
	registry.Push(t, "bot:v1", image)
	_, port, _ := strings.Cut(registry.Host, ":")
	b.must(pull(b, "localhost:"+port+"/bot:v1"))

	b.hosts(registry.Host, `server = "https://`+registry.Host+`"`)
	if err := pull(b, registry.Host+"/bot:v1"); err == nil || !strings.Contains(err.Error(), "speaks http, not https") {
		t.Errorf("https was asked for: the error is %v", err)
	}
}

// loopback is an address that no other test listens at.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250), 1+rand.IntN(250))
}

// hosts writes the hosts.toml of a registry, and gives its path.
func (b *bench) hosts(registry, text string) string {
	b.t.Helper()
	file := filepath.Join(b.dir, "certs.d", registry, "hosts.toml")
	b.must(os.MkdirAll(filepath.Dir(file), 0o755))
	b.must(os.WriteFile(file, []byte(text+"\n"), 0o644))
	return file
}

// A server that does not know https may answer it in any way.
func TestALocalServerThatHangsUpOnHTTPS(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	registry.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}))
	b.must(pull(b, hangsUpOnTLS(t, registry.Host)+"/bot:v1"))
}

// hangsUpOnTLS is the address of a server that passes plain connections on, and closes
// others.
func hangsUpOnTLS(t *testing.T, to string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { listener.Close() })
	serve := func(from net.Conn) {
		defer from.Close()
		first := make([]byte, 1)
		if _, err := io.ReadFull(from, first); err != nil || first[0] == 0x16 { // a TLS handshake
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		serving.Go(func() { io.Copy(server, io.MultiReader(bytes.NewReader(first), from)); server.Close() })
		io.Copy(from, server)
	}
	serving.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(from) })
		}
	})
	return listener.Addr().String()
}

// The error says which hosts.toml helps, and it does.
func TestPlainHTTPElsewhere(t *testing.T) {
	b := newBench(t)
	mirror := drivertest.NewRegistry(t)
	mirror.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}))
	file := b.hosts("registry.example.com", `server = "https://`+mirror.Host+`"`)
	want := "registry " + mirror.Host + ` speaks http, not https (to allow that, write server = "http://` + mirror.Host + `" into ` + file + ")"
	if err := pull(b, "registry.example.com/bot:v1"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %q", err, want)
	}
	b.hosts("registry.example.com", `server = "http://`+mirror.Host+`"`)
	b.must(pull(b, "registry.example.com/bot:v1"))
}

func TestACertificateThatIsNotTrusted(t *testing.T) {
	b := newBench(t)
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	b.hosts("registry.example.com", `server = "`+server.URL+`"`)
	err := pull(b, "registry.example.com/bot:v1")
	want := "the certificate of registry " + strings.TrimPrefix(server.URL, "https://") + " is not trusted (to trust its authority, write ca = "
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v, want %q", err, want)
	}
}

// A mirror that is busy is not waited for when there is another one.
func TestABusyMirrorIsPassedOver(t *testing.T) {
	b := newBench(t)
	busy, mirror := drivertest.NewRegistry(t), drivertest.NewRegistry(t)
	mirror.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}))
	busy.Refuse(-1, 429, http.Header{"Retry-After": {"3000"}}, "")
	b.hosts("registry.example.com", `[host."http://`+busy.Host+`"]
[host."http://`+mirror.Host+`"]`)
	b.must(pull(b, "registry.example.com/bot:v1"))
	if n := busy.Count("HEAD"); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
