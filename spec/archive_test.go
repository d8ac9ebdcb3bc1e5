package spec_test

import (
	"testing"

	"carrel/spec"
)

func TestArchive(t *testing.T) {
	for text, want := range map[string]struct {
		archive spec.Archive
		text    string // when it is another one
	}{
		"/bot.tar":                      {archive: spec.Archive{File: "/bot.tar"}},
		"/bots.tar:v1":                  {archive: spec.Archive{File: "/bots.tar", Tag: "v1"}},
		"/bots.tar:docker.io/bot:v1":    {archive: spec.Archive{File: "/bots.tar", Tag: "docker.io/bot:v1"}},
		"/bots.tar:sha256:abc":          {archive: spec.Archive{File: "/bots.tar", Tag: "sha256:abc"}},
		"/bot:v1.tar::":                 {archive: spec.Archive{File: "/bot:v1.tar"}},
		"/bot:v1.tar::v2":               {archive: spec.Archive{File: "/bot:v1.tar", Tag: "v2"}},
		"/bot:v1.tar::docker.io/bot:v2": {archive: spec.Archive{File: "/bot:v1.tar", Tag: "docker.io/bot:v2"}},
		"/a::b.tar::":                   {archive: spec.Archive{File: "/a::b.tar"}},
		"/a::::v1":                      {archive: spec.Archive{File: "/a::", Tag: "v1"}},
		"/bots.tar::v1":                 {archive: spec.Archive{File: "/bots.tar", Tag: "v1"}, text: "/bots.tar:v1"},
		"/a/../bots.tar:v1":             {archive: spec.Archive{File: "/bots.tar", Tag: "v1"}, text: "/bots.tar:v1"},
	} {
		got, ok := spec.Workspace{Image: spec.ArchivePrefix + text}.Archive()
		if !ok || got != want.archive {
			t.Errorf("%s is %+v", text, got)
		}
		if want.text == "" {
			want.text = text
		}
		if got.String() != want.text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	if _, ok := (spec.Workspace{Image: "docker.io/library/bot:v1"}).Archive(); ok {
		t.Error("an image of a registry is an archive")
	}
}
