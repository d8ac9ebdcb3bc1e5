// Package cdi lists the devices of a host and gives them to containers, by the
// Container Device Interface: vendors describe devices in files, and a container
// asks for one by its fully qualified name, such as nvidia.com/gpu=0.
//
// It makes neither containers nor devices: it reads the files, and adds what they
// say to the OCI spec of a container.
package cdi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"

	"carrel/plan/state"
)

// Driver reads the CDI files in some folders.
type Driver struct {
	folders []string
}

// New gives a driver for folders. A device in a later folder replaces one of the same
// name. Without folders, it has those of the CDI specification. It reads nothing yet.
func New(folders ...string) *Driver {
	if len(folders) == 0 {
		folders = cdi.DefaultSpecDirs
	}
	return &Driver{folders}
}

// read reads all files. Files that cannot be used are errors in the cache, and do not
// affect the others.
func (d *Driver) read() (*cdi.Cache, error) {
	cache, err := cdi.NewCache(cdi.WithSpecDirs(d.folders...), cdi.WithAutoRefresh(false))
	if err != nil {
		return nil, fmt.Errorf("CDI files in %s: %w", strings.Join(d.folders, ", "), err)
	}
	return cache, nil
}

// Devices are all devices of the host.
func (d *Driver) Devices(context.Context) (state.Devices, error) {
	cache, err := d.read()
	if err != nil {
		return state.Devices{}, err
	}
	all := state.Devices{Found: map[string]string{}, Folders: d.folders, Warnings: warnings(cache)}
	for _, name := range cache.ListDevices() {
		all.Found[name] = digest(cache, name)
	}
	return all, nil
}

// warnings say why files cannot be used, a line for each.
func warnings(cache *cdi.Cache) []string {
	var lines []string
	for path, errs := range cache.GetErrors() {
		for _, err := range errs {
			if errors.Is(err, fs.ErrNotExist) {
				continue // a folder that is not there has no devices
			}
			for inner := err; inner != nil; inner = errors.Unwrap(inner) {
				err = inner // the outer ones repeat the path
			}
			lines = append(lines, path+": "+strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// digest identifies what a device resolves to now: everything that it adds to an empty
// container, with the numbers of device nodes. When the nodes do not exist, it is
// the digest of that error.
func digest(cache *cdi.Cache, name string) string {
	added := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}
	if _, err := cache.InjectDevices(added, name); err != nil {
		added.Hostname = err.Error()
	}
	text, err := json.Marshal(added)
	if err != nil {
		panic(err) // an OCI spec is made to be encoded
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// Inject adds devices to the OCI spec of a container, and returns what each resolved
// to. The spec must have its user already, because the nodes will belong to that.
func (d *Driver) Inject(to *specs.Spec, names []string) (digests map[string]string, err error) {
	cache, err := d.read()
	if err != nil {
		return nil, err
	}
	digests = map[string]string{}
	for _, name := range names {
		if cache.GetDevice(name) == nil {
			return nil, d.unknown(cache, name)
		}
		digests[name] = digest(cache, name)
	}
	if _, err := cache.InjectDevices(to, names...); err != nil {
		return nil, fmt.Errorf("devices %s: %w", strings.Join(names, ", "), err)
	}
	return digests, nil
}

func (d *Driver) unknown(cache *cdi.Cache, name string) error {
	has := cache.ListDevices()
	hint := "it has none"
	if len(has) > 0 {
		nearest := slices.MinFunc(has, func(a, b string) int {
			return cmp.Compare(levenshtein.Distance(name, a, nil), levenshtein.Distance(name, b, nil))
		})
		hint = "the nearest is " + nearest
	}
	return fmt.Errorf("this host has no device %q (%s; searched %s)", name, hint, strings.Join(d.folders, ", "))
}

// pollEvery is how often Wait reads the folders. That takes much less than a
// millisecond.
const pollEvery = 200 * time.Millisecond

// Wait waits until the vendors of all devices have files, which they may not have yet
// at boot, but at most so long as limit says. Report, which may be nil, is called
// once with what is missing. Wait does not wait for a device that the files of its
// vendor do not have. That files are still missing at the end is no error.
func (d *Driver) Wait(ctx context.Context, names []string, limit time.Duration, report func(missing string)) error {
	end := time.After(limit)
	for first := true; ; first = false {
		cache, err := d.read()
		if err != nil {
			return err
		}
		missing := unmet(cache, names)
		if len(missing) == 0 {
			return nil
		}
		if first && report != nil {
			report(strings.Join(missing, ", "))
		}
		select {
		case <-time.After(pollEvery):
		case <-end:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unmet are the kinds of devices that no file describes.
func unmet(cache *cdi.Cache, names []string) []string {
	missing := map[string]bool{}
	for _, name := range names {
		vendor, class, _, err := parser.ParseQualifiedName(name)
		if err == nil && !slices.ContainsFunc(cache.GetVendorSpecs(vendor), func(s *cdi.Spec) bool { return s.GetClass() == class }) {
			missing[vendor+"/"+class] = true
		}
	}
	return slices.Sorted(maps.Keys(missing))
}
