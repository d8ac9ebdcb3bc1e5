package drivertest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coreos/go-iptables/iptables"
	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

var (
	subnets atomic.Int32
	claim   *flock.Flock // a variable, because its file is closed when it is garbage
)

// octet is the second number in the subnets of this process. No other test process on
// this host has the same while this one runs.
var octet = sync.OnceValues(func() (int, error) {
	for n := 192; n < 252; n++ {
		claim = flock.New(filepath.Join(os.TempDir(), fmt.Sprintf("carrel-test-subnet-%d", n)))
		held, err := claim.TryLock()
		if held || err != nil {
			return n, err
		}
	}
	return 0, errors.New("all subnets for tests are in use")
})

// Subnet gives a subnet that no other test uses. When the test ends, it removes what a
// bridge of that subnet leaves on the host, each thing by its exact name: the bridge,
// the rules that name it or the subnet, its addresses, the cached results of its
// ADDs, and the mount of the folder of namespaces below runDir.
func Subnet(t testing.TB, runDir string) string {
	t.Helper()
	second, err := octet()
	if err != nil {
		t.Fatal(err)
	}
	subnet := fmt.Sprintf("10.%d.%d.0/24", second, subnets.Add(1))
	t.Cleanup(func() {
		if err := errors.Join(removeBridge(subnet), unmount(filepath.Join(runDir, "netns"))); err != nil {
			t.Errorf("clean up subnet %s: %v", subnet, err)
		}
	})
	return subnet
}

func removeBridge(subnet string) error {
	names := []string{" " + subnet + " "}
	bridge, err := bridgeOf(subnet)
	if err != nil {
		return err
	}
	if bridge != "" {
		names = append(names, " "+bridge+" ")
		out, err := exec.Command("ip", "link", "delete", bridge).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip link delete %s: %w: %s", bridge, err, out)
		}
		if err := removeCNIFiles(bridge); err != nil {
			return err
		}
	}
	return errors.Join(removeRules("nat", "POSTROUTING", names), removeRules("filter", "FORWARD", names))
}

// removeCNIFiles removes the addresses and the cached results of a network.
func removeCNIFiles(network string) error {
	results, err := filepath.Glob(filepath.Join("/var/lib/cni/results", network+"-*"))
	for _, result := range results {
		err = errors.Join(err, os.Remove(result))
	}
	return errors.Join(err, os.RemoveAll(filepath.Join("/var/lib/cni/networks", network)))
}

// bridgeOf is the interface that has the first address of a subnet.
func bridgeOf(subnet string) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	gateway := strings.TrimSuffix(subnet, "0/24") + "1/24"
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			return "", err
		}
		for _, a := range addresses {
			if a.String() == gateway {
				return i.Name, nil
			}
		}
	}
	return "", nil
}

func removeRules(table, chain string, names []string) error {
	tables, err := iptables.New(iptables.Timeout(30))
	if err != nil {
		return err
	}
	rules, err := tables.List(table, chain)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		for _, name := range names {
			if words := strings.Fields(rule); strings.Contains(rule+" ", name) && words[0] == "-A" {
				if err := tables.Delete(table, chain, words[2:]...); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

func unmount(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
