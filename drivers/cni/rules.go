package cni

import (
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/coreos/go-iptables/iptables"
)

const (
	// rulesCheck is how long rules that were checked count as there. Other programs
	// may flush them, but hardly while a hundred workspaces are attached.
	rulesCheck = 10 * time.Second

	// rulesWait is how many seconds to wait for the lock of iptables.
	rulesWait = 30
)

// rule is an iptables rule of the built-in bridge.
type rule struct {
	table, chain string
	args         []string
}

// rules let the workspaces of the built-in bridge reach each other and other
// hosts, and let in answers and connections to published ports. They are needed
// where the host forwards nothing by default, as with Docker: that drops even
// packets from one workspace to another.
func (n *network) rules() []rule {
	bridge, subnet := n.list.Name, n.subnet.String()
	named := []string{"-m", "comment", "--comment", "carrel"}
	return []rule{
		{"nat", "POSTROUTING", append([]string{"-s", subnet, "!", "-d", subnet, "-j", "MASQUERADE"}, named...)},
		{"filter", "FORWARD", append([]string{"-i", bridge, "-j", "ACCEPT"}, named...)},
		{"filter", "FORWARD", append([]string{"-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT", "-j", "ACCEPT"}, named...)},
	}
}

// allow adds the rules of the built-in bridge that are missing.
func (d *Driver) allow(n *network) error {
	if n.file != "" {
		return nil
	}
	return d.locked(func() error {
		if time.Since(d.allowed) < rulesCheck {
			return nil
		}
		tables, err := iptables.New(iptables.Timeout(rulesWait))
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("iptables is not installed, which the built-in network needs (apt-get install iptables)")
		}
		if err != nil {
			return fmt.Errorf("iptables: %w", err)
		}
		for _, r := range n.rules() {
			if err := tables.InsertUnique(r.table, r.chain, 1, r.args...); err != nil {
				return fmt.Errorf("rule of bridge %s: %s", n.list.Name, oneLine(err))
			}
		}
		d.allowed = time.Now()
		return nil
	})
}
