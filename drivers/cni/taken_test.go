package cni_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"carrel/drivers/cni"
	"carrel/plan"
	"carrel/plan/state"
	"carrel/spec"
)

func TestRulesThatPublishPorts(t *testing.T) {
	const text = `*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A CNI-DN-1 -s 10.63.0.0/16 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-1 -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.63.0.2:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"carrel0\" id: \"carrel.web\"" -m multiport --dports 8080 -j CNI-DN-1
-A DOCKER ! -d 10.0.0.1/32 ! -i docker0 -p udp -m udp --dport 53 -j DNAT --to-destination 172.17.0.2:53
-A OTHER -p tcp -m tcp --dport 100:200 -j DNAT --to-destination 172.17.0.2
-A OTHER -p tcp -m tcp --dport 81 -j DNAT --to-destination 172.17.0.2
COMMIT
`
	want := []string{
		"127.0.0.1:8080/tcp: container carrel.web publishes it",
		"53/udp: docker publishes it",
		"81/tcp: chain OTHER of iptables publishes it",
	}
	if diff := cmp.Diff(want, cni.Rules(text)); diff != "" {
		t.Error(diff)
	}
}

func TestTakenPortsSayWhoHasThem(t *testing.T) {
	h := newHost(t, nil)
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	h.must(err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "0.0.0.0:0")
	h.must(err)
	defer udp.Close()
	six, err := net.Listen("tcp6", "[::]:0") // of IPv6 alone
	h.must(err)
	defer six.Close()
	taken := func(ports ...spec.Port) (all []state.TakenPort) {
		all, err := h.TakenPorts(t.Context(), map[string][]spec.Port{"bot": ports})
		h.must(err)
		return all
	}
	port := func(protocol, ip string, at net.Addr) spec.Port {
		_, number, err := net.SplitHostPort(at.String())
		h.must(err)
		p := spec.Port{Container: 80, Protocol: protocol, HostIP: ip}
		_, err = fmt.Sscan(number, &p.Host)
		h.must(err)
		return p
	}
	for _, p := range []spec.Port{port("tcp", "", tcp.Addr()), port("tcp", "127.0.0.1", tcp.Addr()), port("udp", "127.0.0.1", udp.LocalAddr())} {
		if all := taken(p); len(all) != 1 || !strings.HasPrefix(all[0].By, "process ") || !strings.Contains(all[0].By, "(") || all[0].Container != "" {
			t.Errorf("%s: %+v", p.OnHost(), all)
		}
	}
	for _, p := range []spec.Port{port("udp", "", tcp.Addr()), port("tcp", "127.0.0.2", tcp.Addr()), port("tcp", "127.0.0.1", six.Addr())} {
		if all := taken(p); len(all) != 0 {
			t.Errorf("%s: %+v", p.OnHost(), all)
		}
	}
	if all := taken(); len(all) != 0 {
		t.Errorf("none: %+v", all)
	}

	// Another carrel publishes a port that nobody listens on.
	published := spec.Port{Host: freePort(t), Container: 80, Protocol: "tcp", HostIP: "127.0.0.1"}
	h.attach("bot", published)
	if all := taken(published); len(all) != 0 {
		t.Errorf("its own: %+v", all)
	}
	other := newHost(t, func(c *cni.Config) { c.Subnet = h.Subnet })
	everywhere := published
	everywhere.HostIP = ""
	want := fmt.Sprintf("port 127.0.0.1:%d/tcp is taken on this host: container %s.bot publishes it (choose another, or stop that)", published.Host, h.Namespace)
	if err := other.AttachNetwork(t.Context(), plan.AttachNetwork{Workspace: "bot", Set: "s", Ports: []spec.Port{everywhere}}); err == nil || err.Error() != want {
		t.Errorf("error: %v", err)
	}
	h.detach("bot")
}
