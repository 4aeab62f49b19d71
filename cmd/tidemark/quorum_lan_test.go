//go:build quorum

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

// lan is a network of hosts, each a network namespace of Linux. All meet at a
// switch, which stands in a namespace too, and over which members of a quorum
// talk. A second wire leads from each host to this process, which has the
// clients and Kafka: who is cut off from the others can still be asked.
type lan struct {
	name  string // begins all names
	hosts []host
	kafka string // this process's address on the second wire
}

type host struct {
	namespace string
	port      string // at the switch
	members   string // address for the other hosts
	manage    string // address for this process
}

// Wires, as a host sees them.
const (
	memberWire = "members"
	manageWire = "manage"
)

// nowhere is a hardware address that nobody has.
const nowhere = "02:00:00:00:00:00"

// newLan builds a network; it is gone when the test ends.
func newLan(t *testing.T, hosts int) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run `make test-quorum` as root, or in a container with CAP_NET_ADMIN and CAP_SYS_ADMIN")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("the command ip is missing: install iproute2")
	}
	l := &lan{name: fmt.Sprintf("tm%d", os.Getpid())}
	// The range that RFC 2544 sets apart for tests of networks.
	subnet := func(plane, i int) string { return fmt.Sprintf("198.%d.%d.%d", 18+plane, os.Getpid()%256, i) }
	made := func(kind, add, name string, more ...string) {
		must(t, ip(append([]string{kind, add, name}, more...)...))
		t.Cleanup(func() {
			if err := ip(kind, "del", name); err != nil {
				t.Error(err)
			}
		})
	}
	at := func(namespace string, args ...string) { must(t, ip(append([]string{"-n", namespace}, args...)...)) }
	theSwitch, manage := l.name+"sw", l.name+"br"
	l.kafka = subnet(1, 254)
	made("netns", "add", theSwitch)
	at(theSwitch, "link", "add", "sw", "up", "type", "bridge")
	made("link", "add", manage, "up", "type", "bridge")
	must(t, ip("addr", "add", l.kafka+"/24", "dev", manage))
	for i := range hosts {
		h := host{namespace: fmt.Sprint(l.name, "h", i), port: fmt.Sprint("p", i), members: subnet(0, i+1), manage: subnet(1, i+1)}
		l.hosts = append(l.hosts, h)
		made("netns", "add", h.namespace)
		made("link", "add", fmt.Sprint(l.name, "p", i), "up", "master", manage, "type", "veth", "peer", "name", manageWire, "netns", h.namespace)
		at(theSwitch, "link", "add", h.port, "up", "master", "sw", "type", "veth", "peer", "name", memberWire, "netns", h.namespace)
		for wire, address := range map[string]string{memberWire: h.members, manageWire: h.manage} {
			at(h.namespace, "addr", "add", address+"/24", "dev", wire)
			at(h.namespace, "link", "set", wire, "up")
		}
		at(h.namespace, "link", "set", "lo", "up")
	}
	return l
}

// ip runs the command of that name.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// run is a program as it runs on a host, as the same process.
func (l *lan) run(i int, p e2e.Program) e2e.Program {
	return e2e.Program{Path: "ip", Args: append([]string{"netns", "exec", l.hosts[i].namespace, p.Path}, p.Args...), Env: p.Env}
}

// listen is how Kafka listens where the hosts can reach it.
func (l *lan) listen(network, _ string) (net.Listener, error) {
	return net.Listen(network, net.JoinHostPort(l.kafka, "0"))
}

// cut takes a host's cable out of the switch, join puts it back.
func (l *lan) cut(i int) error {
	return ip("-n", l.name+"sw", "link", "set", l.hosts[i].port, "down")
}

func (l *lan) join(i int) error {
	return ip("-n", l.name+"sw", "link", "set", l.hosts[i].port, "up")
}

// mute loses all that a host sends to the others; what they send arrives.
func (l *lan) mute(i int) error { return l.others(i, l.lose) }

// heard ends mute.
func (l *lan) heard(i int) error { return l.others(i, l.find) }

// deafen loses all that the others send to a host; what it sends arrives.
func (l *lan) deafen(i int) error {
	return l.others(i, func(from, to int) error { return l.lose(to, from) })
}

// hears ends deafen.
func (l *lan) hears(i int) error {
	return l.others(i, func(from, to int) error { return l.find(to, from) })
}

// others calls do for a host and each other.
func (l *lan) others(i int, do func(from, to int) error) (err error) {
	for j := range l.hosts {
		if j != i {
			err = errors.Join(err, do(i, j))
		}
	}
	return err
}

// lose sends what goes from one host to another nowhere.
func (l *lan) lose(from, to int) error {
	return ip("-n", l.hosts[from].namespace, "neigh", "replace", l.hosts[to].members, "lladdr", nowhere, "nud", "permanent", "dev", memberWire)
}

// find forgets that, so that the host asks again where the other is.
func (l *lan) find(from, to int) error {
	return ip("-n", l.hosts[from].namespace, "neigh", "del", l.hosts[to].members, "dev", memberWire)
}
