package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"carrel/drivers"
)

// absolutePaths makes the paths of the flags absolute at once: containerd, runc and
// CNI plugins, which get some of them, have other working directories.
func absolutePaths(c *drivers.Config) error {
	for _, f := range []struct {
		flag string
		path *string
	}{
		{"state-dir", &c.StateDir}, {"run-dir", &c.RunDir}, {"hosts-dir", &c.HostsDir}, {"cni-conf-dir", &c.CNIConfDir},
	} {
		if *f.path == "" {
			return fmt.Errorf("--%s is empty (name a folder, or leave the flag out)", f.flag)
		}
		var err error
		if *f.path, err = filepath.Abs(*f.path); err != nil {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	for _, list := range [][]string{c.CNIBinDirs, c.CDISpecDirs} {
		for i := range list {
			var err error
			if list[i], err = filepath.Abs(list[i]); err != nil {
				return err
			}
		}
	}
	if strings.Contains(c.RunDir, ",") {
		return fmt.Errorf("--run-dir %s has a comma, and runc joins no network namespace whose path has one (choose another folder)", c.RunDir)
	}
	var err error
	c.Address, err = socketPath(c.Address)
	return err
}

// maxSocketPath is how many bytes the kernel allows for the path of a socket.
const maxSocketPath = 107

// socketPath is the path of a socket that is written as a path, or as a unix URL.
func socketPath(address string) (string, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(address, "unix:"), "//")
	if path == "" || strings.Contains(path, "://") {
		return "", fmt.Errorf("--address %q is not the path of a socket (write it as %s)", address, defaultAddress)
	}
	path, err := filepath.Abs(path)
	if err == nil && len(path) > maxSocketPath {
		return "", fmt.Errorf("--address %s is longer than the %d bytes that the kernel allows for a socket (name a shorter link to its folder)", path, maxSocketPath)
	}
	return path, err
}

// folders is the value of a flag that names folders: one each time the flag is
// passed, or several with commas between them. A folder that exists may have a comma
// in its name.
type folders struct {
	list   *[]string
	passed bool // then the list has no defaults any more
}

func (f *folders) Set(text string) error {
	if text == "" {
		return errors.New("it is empty (name a folder, or leave the flag out)")
	}
	more := []string{text}
	if _, err := os.Stat(text); err != nil {
		if more, err = csv.NewReader(strings.NewReader(text)).Read(); err != nil {
			return err
		}
	}
	if !f.passed {
		*f.list, f.passed = nil, true
	}
	*f.list = append(*f.list, more...)
	return nil
}

func (f *folders) String() string {
	if f.list == nil {
		return ""
	}
	return strings.Join(*f.list, ",")
}

// Type is what --help calls the value.
func (*folders) Type() string { return "folders" }
