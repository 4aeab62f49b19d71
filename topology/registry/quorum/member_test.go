package quorum

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// TestMemberRefusals: what is refused says why, alike on the leader and through
// a follower.
func TestMemberRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		ann := Who{Actor: "ann"}
		elsewhere := func(at string) func(*Config) {
			return func(cfg *Config) { cfg.Listen, cfg.Network = at, c.fabric.node(at) }
		}
		alone := func(cfg *Config) { cfg.Peers = nil }
		joins := func(cfg *Config) { cfg.Peers, cfg.Join = nil, []string{"nowhere:1"} }
		lead := c.leader().ID()
		held := c.follower().ID()

		own := c.start("own", alone)
		c.ready(own)
		delete(c.nodes, "own") // of another quorum
		defer own.Close()
		opened := func(disk, id, at string) *Node {
			t.Helper()
			cfg := c.config(disk)
			for _, f := range []func(*Config){joins, elsewhere(at), func(cfg *Config) { cfg.ID = id }} {
				f(&cfg)
			}
			n, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		empty := opened("empty", held, "empty:1")
		defer empty.Close()
		copied := raft.NewInmemStore() // a disk that has something
		if err := copied.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogNoop}); err != nil {
			t.Fatal(err)
		}
		c.disks["copied"] = &stores{log: copied, stable: copied, snapshots: raft.NewInmemSnapshotStore(), close: func() error { return nil }}
		twin := opened("copied", held, "twin:1")
		defer twin.Close()

		for _, through := range []*Node{c.leader(), c.follower()} {
			for name, want := range map[string]struct {
				problem registry.Problem
				err     error
			}{
				"remove nobody":              {registry.NotFound, through.Remove(t.Context(), "nobody", ann)},
				"remove the leader":          {registry.Refused, through.Remove(t.Context(), lead, ann)},
				"transfer to nobody":         {registry.NotFound, through.Transfer(t.Context(), "nobody", ann)},
				"join without a port":        {registry.Invalid, through.Join(t.Context(), "n9", "n9", ann)},
				"join without a name":        {registry.Invalid, through.Join(t.Context(), "", "n9:1", ann)},
				"join what is not there":     {registry.Refused, through.Join(t.Context(), "n9", "n9:1", ann)},
				"join under another name":    {registry.Conflict, through.Join(t.Context(), "n9", "own:1", ann)},
				"join a registry of its own": {registry.Refused, through.Join(t.Context(), "own", "own:1", ann)},
				"a member's name, no data":   {registry.Exists, through.Join(t.Context(), held, "empty:1", ann)},
				"a member that runs":         {registry.Exists, through.Join(t.Context(), held, "twin:1", ann)},
			} {
				if problem(want.err) != want.problem || errors.Is(want.err, registry.ErrOutcome) {
					t.Errorf("through %s: %s: %v (%s), want %s", through.ID(), name, want.err, problem(want.err), want.problem)
				}
			}
		}
		if err := own.Remove(t.Context(), "own", ann); problem(err) != registry.Refused {
			t.Errorf("the last one that votes is removed: %v", err)
		}
		if err := own.Transfer(t.Context(), "", ann); problem(err) != registry.Refused {
			t.Errorf("nobody else could lead: %v", err)
		}
		if n := len(c.leader().Status().Peers); n != 3 {
			t.Errorf("refusals made it %d members", n)
		}
	})
}

// TestMemberMoves: a member that comes back with its data at another address is
// moved there, and votes still.
func TestMemberMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		id, lead := c.follower().ID(), c.leader()
		c.stop(id)
		c.propose(lead, registry.CreateInstance{ID: "a"})
		moved := c.start(id, func(cfg *Config) {
			cfg.Listen, cfg.Network = "moved:1", c.fabric.node("moved:1")
			cfg.Peers, cfg.Join = nil, []string{lead.Address()}
		})
		c.ready(moved)
		for i := 0; ; i++ {
			var at string
			for _, p := range lead.Status().Peers {
				if p.ID == id && p.Voter {
					at = p.Address
				}
			}
			if at == "moved:1" {
				break
			}
			if i == 1000 {
				t.Fatalf("%s is at %q", id, at)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if c.read(moved).Instance("a") == nil {
			t.Error("it lacks what was changed meanwhile")
		}
	})
}

// TestMemberWithoutLeader: without a leader nothing is changed, and is said to
// be so; a change whose fate nobody knows says that.
func TestMemberWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		lead := c.leader()
		for id := range c.nodes {
			if id != lead.ID() {
				c.fabric.isolate(address(id), true)
			}
		}
		ann := Who{Actor: "ann"}
		err := lead.Remove(t.Context(), c.follower().ID(), ann)
		if !errors.Is(err, registry.ErrOutcome) || problem(err) != "" {
			t.Errorf("a change in the log of a leader that is cut off: %v", err)
		}
		for lead.leadTerm() != 0 {
			time.Sleep(20 * time.Millisecond)
		}
		for name, err := range map[string]error{
			"join": lead.Join(t.Context(), "n9", "n9:1", ann), "remove": lead.Remove(t.Context(), "n2", ann), "transfer": lead.Transfer(t.Context(), "", ann),
		} {
			if !errors.Is(err, ErrNoLeader) || errors.Is(err, registry.ErrOutcome) || problem(err) != "" {
				t.Errorf("%s without a leader: %v", name, err)
			}
		}
		for id := range c.nodes {
			c.fabric.isolate(address(id), false)
		}
	})
}

// TestRestoreLooksFirst: what is cut short, damaged, of another topology or
// does not come to its end changes nothing: not a command goes out.
func TestRestoreLooksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"}, config("KEPT"))
		var b bytes.Buffer
		if err := c.leader().Backup(t.Context(), &b, Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		whole := b.Bytes()
		damaged := bytes.Clone(whole)
		damaged[len(damaged)/2] ^= 0x10
		other := newCluster(t, 1)
		defer other.stopAll()
		n := other.start("n1", func(cfg *Config) { cfg.Topology = []byte(`{"keyHash":"murmur2","partitions":16}`) })
		other.ready(n)
		n = c.leader()
		var foreign bytes.Buffer
		if err := other.leader().Backup(t.Context(), &foreign, Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		before := n.Model().Applied()
		gone := errors.New("the caller has gone")
		for name, bad := range map[string]struct {
			r    io.Reader
			want registry.Problem
		}{
			"cut short":     {bytes.NewReader(whole[:len(whole)-9]), registry.Invalid},
			"nothing":       {bytes.NewReader(nil), registry.Invalid},
			"damaged":       {bytes.NewReader(damaged), registry.Invalid},
			"more behind":   {io.MultiReader(bytes.NewReader(whole), bytes.NewReader([]byte("x"))), registry.Invalid},
			"other map":     {bytes.NewReader(foreign.Bytes()), registry.Refused},
			"breaks off":    {io.MultiReader(bytes.NewReader(whole[:99]), iotest.ErrReader(gone)), ""},
			"off when read": {iotest.ErrReader(gone), ""},
		} {
			err := n.Restore(t.Context(), bad.r, Who{Actor: "ann"})
			if err == nil || problem(err) != bad.want || bad.want == "" && !errors.Is(err, gone) {
				t.Errorf("%s: %v, want %q", name, err, bad.want)
			}
			if after := n.Model().Applied(); after != before {
				t.Fatalf("%s: %d commands went out", name, after-before)
			}
		}
	})
}

// TestFailedRestoreLeavesNothing: the parts of a restore that fails halfway do
// not stay in the registry's memory and snapshots.
func TestFailedRestoreLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stopAll()
		c.startAll()
		n := c.leader()
		defer func(whole int) { chunkBytes = whole }(chunkBytes)
		chunkBytes = 64
		gone := errors.New("gone")
		parts := 0
		fails := func(ctx context.Context, cmd registry.Command) (registry.Result, error) {
			if parts++; parts == 3 {
				return registry.Result{}, gone
			}
			return n.Propose(ctx, cmd)
		}
		noise := []byte(strings.Repeat("0123456789abcdef", 40))
		if err := n.restore(t.Context(), bytes.NewReader(noise), fails, "ann", ""); !errors.Is(err, gone) {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(snapshotOf(t, n.Model())))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil || bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString(noise[:48]))) {
			t.Errorf("%v; the snapshot holds\n%s", err, text)
		}
	})
}
