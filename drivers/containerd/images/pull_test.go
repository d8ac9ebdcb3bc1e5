package images_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"carrel/drivers/drivertest"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func pull(b *bench, ref string) error {
	return b.PullImage(b.t.Context(), plan.PullImage{Image: ref}, nil)
}

func TestPull(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	first := drivertest.Image(t, v1.Config{Labels: map[string]string{"v": "1"}})
	ref := registry.Push(t, "team/bot:v1", first)
	var mu = make(chan struct{}, 1)
	layers := map[string][2]int64{}
	b.must(b.PullImage(t.Context(), plan.PullImage{Image: ref}, func(layer string, done, total int64) {
		mu <- struct{}{}
		layers[layer] = [2]int64{done, total}
		<-mu
	}))
	for layer, bytes := range layers {
		if bytes[0] != bytes[1] || bytes[1] == 0 {
			t.Errorf("the progress of layer %s ends at %d of %d bytes", layer, bytes[0], bytes[1])
		}
	}
	if len(layers) == 0 {
		t.Error("the pull reports no progress")
	}
	w := spec.Default()
	w.Image, w.ImagePullPolicy = ref, spec.PullAlways
	if i := b.asked(w); i.Digest == "" || i.Digest != i.Source || i.Err != "" {
		t.Errorf("after the pull the image is observed as %+v", i)
	}
	before := b.pinned(ref)
	was := b.asked(w).Digest
	if !strings.HasSuffix(before, was) {
		t.Errorf("the image %s is pinned as %s", was, before)
	}

	registry.Push(t, "team/bot:v1", drivertest.Image(t, v1.Config{Labels: map[string]string{"v": "2"}}))
	if i := b.asked(w); i.Digest != was || i.Source == was {
		t.Errorf("after the tag moved the image is observed as %+v, it was %s", i, was)
	}
	b.must(pull(b, ref))
	if _, err := b.raw.GetImage(t.Context(), before); err != nil {
		t.Errorf("the image of what runs is lost when its tag moves: %v", err)
	}
}

// asked is what is known of the image of a workspace once its registry was
// asked too.
func (b *bench) asked(w spec.Workspace) state.Image {
	b.t.Helper()
	images, err := b.Images(b.t.Context(), []spec.Workspace{w})
	b.must(err)
	now := state.State{Images: images}
	now.Ask(b.Sources(b.t.Context(), []spec.Workspace{w}))
	return now.Images[w.Image]
}

func TestPullErrorsSayWhatToDo(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}))
	for _, test := range []struct{ ref, want string }{
		{registry.Host + "/bot:none", "was not found in its registry"},
		{registry.Host + "/none:v1", "was not found in its registry"},
		{"127.0.0.1:1/bot:v1", "cannot be reached"},
	} {
		err := pull(b, test.ref)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", test.ref, err, test.want)
		}
	}
	registry.RequireLogin("ann", "secret")
	if err := pull(b, ref); err == nil || !strings.Contains(err.Error(), "docker login "+registry.Host) {
		t.Errorf("missing credentials: the error is %v", err)
	}
	t.Setenv("DOCKER_CONFIG", b.dir)
	login(t, b.dir, registry.Host, "ann:wrong")
	if err := pull(b, ref); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong credentials: the error is %v", err)
	}
	login(t, b.dir, registry.Host, "ann:secret")
	b.must(pull(b, ref))
}

func TestPullAsksTheCredentialHelper(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}))
	registry.RequireLogin("ann", "from the helper")
	b.must(os.WriteFile(filepath.Join(b.dir, "docker-credential-test"), []byte(`#!/bin/sh
read host
echo '{"ServerURL": "'"$host"'", "Username": "ann", "Secret": "from the helper"}'
`), 0o755))
	b.must(os.WriteFile(filepath.Join(b.dir, "config.json"), []byte(`{"credHelpers": {"`+registry.Host+`": "test"}}`), 0o600))
	t.Setenv("DOCKER_CONFIG", b.dir)
	t.Setenv("PATH", b.dir+":"+os.Getenv("PATH"))
	b.must(pull(b, ref))
}

func TestPullThatFailsDisturbsNoOther(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	ref := registry.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir)))
	begun, failed := make(chan struct{}, 16), make(chan struct{})
	registry.Before(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			begun <- struct{}{}
			<-failed
		}
		return false
	})
	pulled := make(chan error, 1)
	go func() { pulled <- pull(b, ref) }()
	<-begun
	if err := pull(b, registry.Host+"/none:v1"); err == nil {
		t.Error("an image that does not exist was pulled")
	}
	close(failed)
	b.must(<-pulled)
	if n := registry.Count("GET /v2/bot/manifests/"); n != 1 {
		t.Errorf("the manifest was fetched %d times", n)
	}
}

func TestPullFromAMirror(t *testing.T) {
	b := newBench(t)
	mirror := drivertest.NewRegistry(t)
	mirror.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}))
	dir := filepath.Join(b.dir, "certs.d", "registry.example.com")
	b.must(os.MkdirAll(dir, 0o755))
	b.must(os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(`[host."http://`+mirror.Host+`"]
  capabilities = ["pull", "resolve"]
`), 0o644))
	b.must(pull(b, "registry.example.com/bot:v1"))
}

func TestPullThatBrokeOffIsMadeGood(t *testing.T) {
	b := newBench(t)
	registry := drivertest.NewRegistry(t)
	// Content that no other test has: containerd shares it between namespaces.
	ref := registry.Push(t, "bot:v1", drivertest.Image(t, v1.Config{}, drivertest.File("unique", 0o644, 0, b.dir)))
	registry.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 1000)) // the connection breaks here
		return true
	})
	if err := pull(b, ref); err == nil {
		t.Fatal("a pull from a registry that breaks off went well")
	}
	registry.Before(nil)
	b.must(pull(b, ref))
	b.create("resumed", ref)
}

// login writes what docker login writes.
func login(t *testing.T, dir, host, credentials string) {
	t.Helper()
	text := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(credentials)) + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
