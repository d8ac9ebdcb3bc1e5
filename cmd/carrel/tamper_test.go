package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/types/known/anypb"
)

// This file has the commands of scripts that change a container as a person on the
// host would, without carrel.

// tamper NAME WHAT VALUE changes a label (KEY=VALUE, or KEY= to remove it), a variable
// (env, NAME=VALUE) or a mount (SOURCE=TARGET) of a container, or a limit (memory,
// pids) of its processes. With earlier, the container becomes like one that an
// earlier carrel made.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	what, value := args[1], args[2]
	key, text, _ := strings.Cut(value, "=")
	switch what {
	case "label":
		_, err := containerOf(ts, args[0]).SetLabels(context.Background(), map[string]string{key: text})
		ts.Check(err)
	case "env":
		describe(ts, args[0], func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, value) })
	case "mount":
		describe(ts, args[0], func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Type: "bind", Source: ts.MkAbs(key), Destination: text, Options: []string{"rbind"}})
		})
	case "memory":
		limitGroup(ts, args[0], "memory/", "memory.limit_in_bytes", "memory.max", value)
	case "pids":
		limitGroup(ts, args[0], "pids/", "pids.max", "pids.max", value)
	case "earlier":
		ts.Check(containerOf(ts, args[0]).Update(context.Background(), func(_ context.Context, _ *client.Client, c *containers.Container) error {
			c.Extensions["carrel/made"] = &anypb.Any{TypeUrl: "carrel/made"} // containerd keeps one that is left out
			return nil
		}))
	default:
		ts.Fatalf("tamper does not know %s", what)
	}
}

// describe changes the OCI spec of a container.
func describe(ts *testscript.TestScript, name string, change func(*specs.Spec)) {
	ts.Check(containerOf(ts, name).Update(context.Background(), func(_ context.Context, _ *client.Client, c *containers.Container) error {
		var described specs.Spec
		if err := json.Unmarshal(c.Spec.GetValue(), &described); err != nil {
			return err
		}
		change(&described)
		text, err := json.Marshal(described)
		c.Spec = &anypb.Any{TypeUrl: c.Spec.GetTypeUrl(), Value: text}
		return err
	}))
}

// limitGroup writes a limit of the kernel, with whichever version of control groups the
// host has.
func limitGroup(ts *testscript.TestScript, name, controller, v1, v2, value string) {
	group := filepath.Join(ts.Getenv("CARREL_NAMESPACE"), name)
	err := os.WriteFile(filepath.Join("/sys/fs/cgroup", controller, group, v1), []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(filepath.Join("/sys/fs/cgroup", group, v2), []byte(value), 0)
	}
	ts.Check(err)
}

// labels NAME prints the labels of a container.
func labels(ts *testscript.TestScript, _ bool, args []string) {
	all, err := containerOf(ts, args[0]).Labels(context.Background())
	ts.Check(err)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(ts.Stdout(), "%s=%s\n", key, all[key])
	}
}
