package quorum

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// The tests of this file use the world: loopback, disk, processes.

const childEnv = "TIDEMARK_REGISTRY_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a registry process that makes configs and says so, until it is killed.
func child(dir string) error {
	n, err := Open(Config{Dir: dir, Topology: frozen, SnapshotEvery: 64, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := n.Ready(ctx); err != nil {
		return err
	}
	if n.Model().Instance("a") == nil {
		if _, err := n.Propose(ctx, registry.Command{Actor: "child", Ops: []registry.Op{registry.CreateInstance{ID: "a"}}}); err != nil {
			return err
		}
	}
	for i := n.Model().SyncCount(); ; i++ {
		if i%50 == 49 {
			n.spawn(func() { _ = n.raft.Snapshot().Error() }) // nothing new to take is no harm
		}
		if _, err := n.Propose(ctx, registry.Command{Actor: "child", Ops: []registry.Op{config(fmt.Sprint("B", i))}}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestKilledNodeLosesNothing kills a node's process at random moments: what it
// has answered is there again, in order, without a hole.
func TestKilledNodeLosesNothing(t *testing.T) {
	dir := t.TempDir()
	answered, rounds := -1, 8
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 1 + round*17 // answers until it dies
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil || n != answered+1 && n != answered+2 { // one may be done and not yet answered
				t.Fatalf("round %d: after %d it goes on with %q", round, answered, lines.Text())
			}
			answered = n
			if kill--; kill == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
	}
	n := openDisk(t, dir)
	m := n.Model()
	for i := range answered + 1 {
		if m.Sync("a", fmt.Sprint("B", i)) == nil {
			t.Errorf("config %d was answered and is lost", i)
		}
	}
	t.Logf("%d configs, %d kills", answered+1, rounds)
}

func openDisk(t *testing.T, dir string, change ...func(*Config)) *Node {
	t.Helper()
	cfg := Config{Dir: dir, Topology: frozen, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	start := time.Now()
	n, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %s", time.Since(start).Round(time.Millisecond))
	return n
}

func TestDirectoryBelongsToOneNode(t *testing.T) {
	dir := t.TempDir()
	n := openDisk(t, dir)
	if _, err := Open(Config{Dir: dir, Topology: frozen}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second process: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{ID: "other", Dir: dir, Topology: frozen}); err == nil || !strings.Contains(err.Error(), `belongs to node "registry-1"`) {
		t.Errorf("a node of another name: %v", err)
	}
	again := openDisk(t, dir, func(c *Config) { c.Listen = "127.0.0.2:0" }) // another address for certain
	for len(again.Status().Peers) != 1 || again.Status().Peers[0].Address != again.Address() {
		time.Sleep(10 * time.Millisecond) // the list is put right after the start
	}
}

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}
	var der []byte
	a.key, der = a.sign(template, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.pem = cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) sign(template *x509.Certificate, parent *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, der
}

// member is a node's TLS, by way of the files that operators have.
func (a *authority) member() *tls.Config {
	key, der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.cert)
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			a.t.Fatal(err)
		}
		return path
	}
	config, err := LoadTLS(write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})), write("ca.pem", a.pem))
	if err != nil {
		a.t.Fatal(err)
	}
	return config
}

// worldCluster is a quorum of three over TCP, with disks, and TLS if there is
// an authority.
func worldCluster(t testing.TB, secure func() *tls.Config) []*Node {
	t.Helper()
	var peers []Peer
	var held []net.Listener
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // to learn of free ports
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		peers = append(peers, Peer{fmt.Sprint("n", i+1), l.Addr().String()})
	}
	var nodes []*Node
	for i, p := range peers {
		held[i].Close()
		cfg := Config{ID: p.ID, Dir: t.TempDir(), Listen: p.Address, Peers: peers, Topology: frozen, Log: slog.New(slog.DiscardHandler)}
		if secure != nil {
			cfg.TLS = secure()
		}
		n, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, n := range nodes {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	return nodes
}

func TestTLS(t *testing.T) {
	ours := newAuthority(t)
	nodes := worldCluster(t, ours.member)
	for i, n := range nodes {
		if _, err := n.Propose(t.Context(), registry.Command{Actor: "test", Ops: []registry.Op{registry.CreateInstance{ID: fmt.Sprint(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	address := nodes[0].Address()
	for name, config := range map[string]*tls.Config{
		"no certificate":    {InsecureSkipVerify: true},
		"another authority": func() *tls.Config { c := newAuthority(t).member(); c.InsecureSkipVerify = true; return c }(),
	} {
		if answered(address, config) {
			t.Errorf("%s: a stranger is answered", name)
		}
	}
	if answered(address, nil) {
		t.Error("plaintext is answered")
	}
	if !answered(address, func() *tls.Config { c := ours.member(); c.ServerName = "127.0.0.1"; return c }()) {
		t.Error("a member is not answered: the test proves nothing")
	}
	// A member does not talk to a stranger that pretends to be one.
	stranger := newAuthority(t).member()
	stranger.ClientAuth = tls.RequestClientCert
	l, err := tls.Listen("tcp", "127.0.0.1:0", stranger)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	if _, err := nodes[0].ask(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("asking a stranger: %v", err)
	}
}

// answered calls a node for its status over a connection of our own.
func answered(address string, config *tls.Config) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if config != nil {
		conn = tls.Client(conn, config)
	}
	if _, err := fmt.Fprintf(conn, "%cPOST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", wireCalls); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.Contains(line, "200")
}

func TestGarbageOnTheWire(t *testing.T) {
	n := openDisk(t, t.TempDir())
	for _, b := range []string{"", "x", "r\xff\xff\xff\xff", "rGET / HTTP/1.1\r\n\r\n", "c\x00\x00", "cPOST /propose HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"} {
		conn, err := net.Dial("tcp", n.Address())
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write([]byte(b))
		if err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("%q: %v", b, err)
		}
		conn.Close()
	}
	if _, err := n.Propose(t.Context(), registry.Command{Actor: "test", Ops: []registry.Op{registry.SetSignature{On: true}}}); err != nil {
		t.Error(err)
	}
}

// BenchmarkPropose is a change through a follower of three nodes on this
// machine's disk, one at a time and many together.
func BenchmarkPropose(b *testing.B) {
	nodes := worldCluster(b, nil)
	follower := nodes[0]
	if leading, _ := follower.Leading(); leading {
		follower = nodes[1]
	}
	i := 0
	propose := func(b *testing.B) {
		i++
		if _, err := follower.Propose(context.Background(), registry.Command{Actor: "test", Ops: []registry.Op{registry.SetSignature{On: i%2 == 0}}}); err != nil {
			b.Error(err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			propose(b)
		}
	})
	b.Run("together", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := follower.Propose(context.Background(), registry.Command{Actor: "test", Ops: []registry.Op{registry.Login{Name: "x"}}}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := follower.Read(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTakeOver is how long writes stand still when a leader dies.
func BenchmarkTakeOver(b *testing.B) {
	for b.Loop() {
		nodes := worldCluster(b, nil)
		var leader, other *Node
		for _, n := range nodes {
			if leading, _ := n.Leading(); leading {
				leader = n
			} else {
				other = n
			}
		}
		start := time.Now()
		leader.raft.Shutdown()
		_ = leader.wire.close()
		if _, err := other.Propose(context.Background(), registry.Command{Actor: "test", Ops: []registry.Op{registry.SetSignature{On: true}}}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/takeover")
	}
}

// BenchmarkLoadConfigs is a plan of 10,000 configs applied to three nodes.
func BenchmarkLoadConfigs(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		nodes := worldCluster(b, nil)
		var commands []registry.Command
		for i := range 10 {
			c := registry.Command{ID: fmt.Sprint("load", i), Actor: "test"}
			if i == 0 {
				c.Ops = append(c.Ops, registry.CreateInstance{ID: "a"})
			}
			for j := range registry.MaxCommandOps - 1 {
				c.Ops = append(c.Ops, config(fmt.Sprintf("BIZ-%d-%d", i, j)))
			}
			commands = append(commands, c)
		}
		b.StartTimer()
		for _, c := range commands {
			if _, err := nodes[0].Propose(context.Background(), c); err != nil {
				b.Fatal(err)
			}
		}
	}
}
