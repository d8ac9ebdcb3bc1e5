package main

import (
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"carrel/drivers/drivertest"
)

// This file has the commands of scripts for images and their registries.

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
