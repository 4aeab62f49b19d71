package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

// RegistryConfig is this node's place in the registry's quorum. The zero value
// is a registry of this node alone.
type RegistryConfig struct {
	// ID names the node for ever; default "registry-1".
	ID string
	// Listen is the address for other members, and Advertise what they reach
	// it at; default a free loopback port, and Listen itself.
	Listen, Advertise string
	// Peers are the first members, this node among them; Join are members to
	// ask for admission instead.
	Peers []quorum.Peer
	Join  []string
	// CertFile, KeyFile and CAFile are for TLS between members, which is needed
	// off loopback.
	CertFile, KeyFile, CAFile string
}

// shared reports whether there may be other nodes than this.
func (c *RegistryConfig) shared() bool { return len(c.Peers) > 1 || len(c.Join) > 0 }

// Validate names the first flag that is wrong.
func (c *RegistryConfig) Validate() error {
	tls := 0
	for _, f := range []string{c.CertFile, c.KeyFile, c.CAFile} {
		if f != "" {
			tls++
		}
	}
	switch {
	case tls != 0 && tls != 3:
		return fmt.Errorf("--registry-tls-cert, --registry-tls-key and --registry-tls-ca go together: %d of 3 are set", tls)
	case c.shared() && c.Listen == "":
		return fmt.Errorf("--registry-listen is missing: other members need a fixed address to reach this node at")
	}
	return nil
}

// ParsePeers reads "id=host:port,...".
func ParsePeers(list string) ([]quorum.Peer, error) {
	var all []quorum.Peer
	for _, item := range Brokers(list) {
		id, address, ok := strings.Cut(item, "=")
		if _, _, err := net.SplitHostPort(address); !ok || id == "" || err != nil {
			return nil, fmt.Errorf("--registry-peers: %q: want id=host:port", item)
		}
		all = append(all, quorum.Peer{ID: id, Address: address})
	}
	return all, nil
}

func (n *Node) quorumConfig() (quorum.Config, error) {
	r := n.cfg.Registry
	cfg := quorum.Config{
		ID: r.ID, Dir: n.cfg.dir("registry"), Listen: r.Listen, Advertise: r.Advertise, Peers: r.Peers, Join: r.Join,
		Topology: n.topo.Frozen(), Admin: n.AdminURL(), Log: n.cfg.Log,
	}
	if r.CertFile == "" {
		return cfg, nil
	}
	var err error
	cfg.TLS, err = quorum.LoadTLS(r.CertFile, r.KeyFile, r.CAFile)
	return cfg, err
}

// members gives the console the quorum.
type members struct{ *quorum.Node }

func (m members) Join(ctx context.Context, id, address, actor, source string) error {
	return m.Node.Join(ctx, id, address, quorum.Who{Actor: actor, Source: source})
}

func (m members) Remove(ctx context.Context, id, actor, source string) error {
	return m.Node.Remove(ctx, id, quorum.Who{Actor: actor, Source: source})
}

func (m members) Transfer(ctx context.Context, id, actor, source string) error {
	return m.Node.Transfer(ctx, id, quorum.Who{Actor: actor, Source: source})
}

func (m members) Backup(ctx context.Context, w io.Writer, actor, source string) error {
	return m.Node.Backup(ctx, w, quorum.Who{Actor: actor, Source: source})
}

func (m members) Restore(ctx context.Context, r io.Reader, actor, source string) error {
	return m.Node.Restore(ctx, r, quorum.Who{Actor: actor, Source: source})
}
