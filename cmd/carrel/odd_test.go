package main

import (
	"archive/tar"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"carrel/drivers/drivertest"
)

// guestOf is an image of the guest with a configuration and files.
func guestOf(config v1.Config, files ...tar.Header) func(testing.TB) v1.Image {
	return func(t testing.TB) v1.Image { return drivertest.Image(t, config, files...) }
}

// runs is a configuration with a command, or explicitly without one.
func runs(command ...string) v1.Config {
	return v1.Config{Entrypoint: append([]string{}, command...), Env: []string{"PATH=/"}}
}

// riscvProgram is the beginning of a program for RISC-V.
var riscvProgram = "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\xf3\x00\x01\x00\x00\x00" + strings.Repeat("\x00", 28) + "\x40\x00\x38\x00\x00\x00\x40\x00\x00\x00\x00\x00"

// oddImages are images of which no container can run, by what is wrong.
var oddImages = map[string]func(testing.TB) v1.Image{
	"no-command":     guestOf(runs()),
	"user":           guestOf(v1.Config{User: "nobody-has-this"}),
	"group":          guestOf(v1.Config{User: "0:nobody-has-this"}),
	"workdir":        guestOf(v1.Config{WorkingDir: "work"}),
	"workdir-file":   guestOf(v1.Config{WorkingDir: "/guest"}),
	"env":            guestOf(v1.Config{Env: []string{"PATH=/", "BROKEN"}}),
	"missing":        guestOf(runs("/no/such")),
	"not-in-path":    guestOf(runs("nosuch")),
	"one-text":       guestOf(runs("guest serve 1000")),
	"not-executable": guestOf(runs("/tool"), drivertest.File("tool", 0o644, 0, "#!/guest\n")),
	"folder":         guestOf(runs("/tool"), drivertest.Folder("tool", 0o755, 0)),
	"no-interpreter": guestOf(runs("/tool"), drivertest.File("tool", 0o755, 0, "#!/bin/bash\n")),
	"windows":        guestOf(runs("/tool"), drivertest.File("tool", 0o755, 0, "#!/guest\r\n")),
	"no-program":     guestOf(runs("/tool"), drivertest.File("tool", 0o755, 0, "echo hello\n")),
	"other-platform": func(t testing.TB) v1.Image {
		return drivertest.OfPlatform(t, guestOf(runs("/tool"), drivertest.File("tool", 0o755, 0, riscvProgram))(t), "linux", "riscv64")
	},
	"other-processor": guestOf(runs("/tool"), drivertest.File("tool", 0o755, 0, riscvProgram)),
	"artifact":        func(t testing.TB) v1.Image { return drivertest.Artifact(guestOf(v1.Config{})(t)) },
	"not-json":        func(t testing.TB) v1.Image { return drivertest.WithConfig(guestOf(v1.Config{})(t), "hello") },
}

// odd-archive FILE KIND writes an image of which no container can run as an OCI archive.
func oddArchive(ts *testscript.TestScript, _ bool, args []string) {
	drivertest.Archive(tb(ts), ts.MkAbs(args[0]), oddImage(ts, args[1]))
}

// odd-push REPOSITORY:TAG KIND pushes one to the registry of the script.
func oddPush(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("registry").(*drivertest.Registry).Push(tb(ts), args[0], oddImage(ts, args[1]))
}

func oddImage(ts *testscript.TestScript, kind string) v1.Image {
	image, ok := oddImages[kind]
	if !ok {
		ts.Fatalf("there is no odd image %q", kind)
	}
	return image(tb(ts))
}
