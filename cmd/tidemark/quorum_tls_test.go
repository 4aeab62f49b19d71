//go:build quorum

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// authority signs members' certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	var der []byte
	a.key, der = a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	})
	var err error
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.file = writePEM(t, "CERTIFICATE", der)
	return a
}

// sign makes a key and its certificate; the authority's own if it has none yet.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(t, err)
	return key, der
}

// member is the flags of a member at an address.
func (a *authority) member(t *testing.T, ip string) []string {
	t.Helper()
	key, der := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	private, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	return []string{"--registry-tls-cert", writePEM(t, "CERTIFICATE", der), "--registry-tls-key", writePEM(t, "EC PRIVATE KEY", private), "--registry-tls-ca", a.file}
}

func writePEM(t *testing.T, kind string, der []byte) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "x.pem")
	must(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return name
}

// TestQuorumLetsNoStrangerIn: members are processes that prove themselves to
// each other. One whose certificate another authority has signed, and one that
// speaks no TLS, are told nothing and get nothing, whether they come back as a
// member or ask to be one. With the right certificate they are let in.
func TestQuorumLetsNoStrangerIn(t *testing.T) {
	ctx := within(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	q := registriesOn(t, startKafka(t).ListenAddrs())
	q.nodes = nil
	for i := range q.args {
		q.args[i] = append(q.args[i], ours.member(t, "127.0.0.1")...)
		q.nodes = append(q.nodes, q.member(t, e2e.Self(), q.dirs[i], q.args[i]...))
	}
	q.launch(ctx, t)
	must(t, q.nodes[2].Stop())
	plain := q.args[2][:6]
	for what, c := range map[string]struct {
		args []string
		why  string // as the others have it
	}{
		"another authority": {slices.Concat(plain, theirs.member(t, "127.0.0.1")), "failed to verify certificate"},
		"no TLS":            {plain, "read tcp"}, // it hangs up
	} {
		stranger := q.member(t, e2e.Self(), q.dirs[2], c.args...)
		must(t, stranger.Launch())
		q.sees(ctx, t, what, func(s *registry.Status) bool { return strings.Contains(s.Peers[2].Error, c.why) })
		if err := stranger.Ready(ctx); err == nil {
			t.Errorf("%s: a member is ready that nobody talks to", what)
		}
		must(t, stranger.Stop())
	}
	must(t, q.call(ctx, q.nodes[1], http.MethodPost, "/instances", map[string]any{"id": instance}, nil)) // two are enough
	must(t, q.nodes[2].Launch())
	must(t, q.nodes[2].WaitReady(ctx))

	listen, err := e2e.FreeAddress()
	must(t, err)
	join := []string{"--registry-id", "r4", "--registry-listen", listen, "--registry-join", q.args[0][3] + "," + q.args[1][3]}
	for what, args := range map[string][]string{"another authority": slices.Concat(join, theirs.member(t, "127.0.0.1")), "no TLS": join} {
		stranger := q.member(t, e2e.Self(), t.TempDir(), args...)
		must(t, stranger.Launch())
		t.Cleanup(func() { _ = stranger.Kill() })
		until(ctx, t, what+" has been refused by two", func() bool {
			lines, err := stranger.Log("registry: not let in yet")
			must(t, err)
			return len(lines) >= 2
		})
		q.sees(ctx, t, what, func(s *registry.Status) bool { return len(s.Peers) == 3 })
		if err := stranger.Ready(ctx); err == nil {
			t.Errorf("%s: one is ready that was not let in", what)
		}
		must(t, stranger.Stop())
	}
	friend := q.member(t, e2e.Self(), t.TempDir(), slices.Concat(join, ours.member(t, "127.0.0.1"))...)
	start(ctx, t, friend)
	q.sees(ctx, t, "the right certificate", func(s *registry.Status) bool { return len(s.Peers) == 4 && s.Peers[3].Voter })
	must(t, friend.Stop())
	q.stop(t)
}

// sees waits until a member's status is as wanted.
func (q *registries) sees(ctx context.Context, t *testing.T, what string, holds func(*registry.Status) bool) {
	t.Helper()
	var s registry.Status
	until(ctx, t, what+" shows in the status", func() bool {
		s = registry.Status{}
		return q.call(ctx, q.nodes[0], http.MethodGet, "/registry/status", nil, &s) == nil && holds(&s)
	})
}
