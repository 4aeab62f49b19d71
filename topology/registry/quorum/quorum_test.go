package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

func TestAnyNodeTakesWritesAndReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		c.propose(c.follower(), registry.CreateInstance{ID: "a"})
		for i, p := range c.peers {
			biz := fmt.Sprint("B", i)
			r := c.propose(c.nodes[p.ID], config(biz))
			if r.Publish == 0 {
				t.Errorf("a new config is nothing to publish: %+v", r)
			}
			for _, q := range c.peers {
				if c.read(c.nodes[q.ID]).Sync("a", biz) == nil {
					t.Errorf("%s does not show what %s has answered", q.ID, p.ID)
				}
			}
		}
		_, err := c.follower().Propose(t.Context(), registry.Command{Actor: "x", Ops: []registry.Op{config("B0")}})
		if problem(err) != registry.Exists {
			t.Errorf("a refusal through a follower comes as %v", err)
		}
		c.alike()
	})
}

// TestLeaderRestartsInMajority is two of three with the leader among those
// that come back.
func TestLeaderRestartsInMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"})
		gone := c.follower().ID()
		c.stop(gone)
		c.propose(c.leader(), config("BEFORE"))
		leader := c.leader().ID()
		c.crash(leader)

		// One of three: nothing may be promised.
		var left *Node
		for _, n := range c.nodes {
			left = n
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := left.Propose(ctx, registry.Command{ID: "alone", Actor: "test", Ops: []registry.Op{config("ALONE")}})
		cancel()
		if err == nil {
			t.Error("a minority took a write")
		}
		c.start(leader)
		if c.read(left).Sync("a", "BEFORE") == nil {
			t.Error("an answered write is lost")
		}
		c.propose(left, config("AFTER"))
		c.start(gone)
		c.ready(c.nodes[gone])
		c.alike()
	})
}

func TestCommandIsAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"})
		before := c.read(c.leader()).AuditLen()
		var wg sync.WaitGroup
		results := make([]registry.Result, 9)
		for i := range results {
			wg.Go(func() {
				r, err := c.nodes[c.peers[i%3].ID].Propose(t.Context(), registry.Command{ID: "same", Actor: "test", Time: 5, Ops: []registry.Op{config("ONCE")}})
				if err != nil {
					t.Error(err)
				}
				results[i] = r
			})
		}
		wg.Wait()
		for _, r := range results {
			if r != results[0] || !r.Changed {
				t.Errorf("answers differ: %+v, %+v", results[0], r)
			}
		}
		if n := c.read(c.leader()).AuditLen() - before; n != 1 {
			t.Errorf("one command, %d audit records", n)
		}
	})
}

func TestIsolatedLeaderAnswersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"}, config("B"))
		old := c.leader()
		c.fabric.isolate(old.Address(), true)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if m, err := old.Read(ctx); err == nil {
			t.Errorf("a leader without a majority reads revision %d", m.Revision())
		}
		var other *Node
		for _, n := range c.nodes {
			if n != old {
				other = n
			}
		}
		c.propose(other, describe("B", "new"))
		if leading, _ := old.Leading(); leading {
			t.Error("it still says that it leads")
		}
		if got := old.Model().Sync("a", "B").Description; got != "" {
			t.Errorf("cut off, it knows %q", got)
		}
		c.fabric.isolate(old.Address(), false)
		if got := c.read(old).Sync("a", "B").Description; got != "new" {
			t.Errorf("healed, it reads %q", got)
		}
		c.alike()
	})
}

func TestLaggingFollowerGetsSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.every = 16
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"})
		late := c.follower().ID()
		c.stop(late)
		for i := range 200 {
			c.propose(c.leader(), config(fmt.Sprint("B", i)))
		}
		if err := c.leader().raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		c.propose(c.leader(), config("LAST"))
		if first, err := c.leader().stores.log.FirstIndex(); err != nil || first < 100 {
			t.Fatalf("the leader's log still begins at %d (%v)", first, err)
		}
		n := c.start(late)
		c.ready(n)
		if s := n.Status(); s.SnapshotIndex < 100 || c.read(n).SyncCount() != 201 {
			t.Errorf("snapshot at %d, %d configs", s.SnapshotIndex, n.Model().SyncCount())
		}
		c.alike()
		// From its own snapshot, it starts as it was.
		c.crash(late)
		c.ready(c.start(late))
		c.alike()
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		n := c.follower()
		c.propose(n, registry.CreateInstance{ID: "a"}, config("B"))
		w := n.Watch(0)
		u, err := w.Next(t.Context())
		if err != nil || !u.Reset || u.Model.Sync("a", "B") == nil {
			t.Fatalf("the first update is %+v, %v", u, err)
		}
		// What comes while nobody listens is told together, each thing once.
		for i := range 50 {
			c.propose(n, describe("B", fmt.Sprint(i)))
		}
		c.propose(n, registry.SetSignature{On: true})
		u, err = w.Next(t.Context())
		want := []registry.Object{{Kind: registry.KindConfig, InstanceID: "a", Name: "B"}, {Kind: registry.KindService, Name: "signature"}}
		if err != nil || u.Reset || !slices.Equal(u.Touched, want) || u.Model.Sync("a", "B").Description != "49" {
			t.Errorf("51 changes are told as %+v, %v", u, err)
		}
		// Going on elsewhere after a disconnect.
		c.propose(n, describe("B", "later"))
		again, err := c.leader().Watch(u.Revision).Next(t.Context())
		if err != nil || again.Reset || !slices.Equal(again.Touched, want[:1]) {
			t.Errorf("resumed, it is told %+v, %v", again, err)
		}
		// Away for longer than anybody remembers.
		var ops []registry.Op
		for i := range registry.MaxCommandOps {
			ops = append(ops, registry.SetSignature{On: i%2 == 1})
		}
		for range registry.MaxHistory/len(ops) + 1 {
			c.propose(n, ops...)
		}
		if gone, err := n.Watch(u.Revision).Next(t.Context()); err != nil || !gone.Reset {
			t.Errorf("after compaction it is told %d things, %v", len(gone.Touched), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if u, err := n.Watch(n.Model().Revision()).Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing changed, and it is told %+v, %v", u, err)
		}
	})
}

func TestThousandWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stopAll()
		c.startAll()
		n := c.leader()
		c.propose(n, registry.CreateInstance{ID: "a"}, config("B"))
		from := n.Model().Revision()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for w := n.Watch(from); ; {
					u, err := w.Next(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if u.Model.Sync("a", "B").Description == "99" {
						return
					}
				}
			})
		}
		for i := range 100 {
			c.propose(n, describe("B", fmt.Sprint(i)))
		}
		wg.Wait()
	})
}

func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stopAll()
		c.startAll()
		joins := func(cfg *Config) { cfg.Peers, cfg.Join = nil, []string{address("n1")} }
		c.propose(c.leader(), registry.CreateInstance{ID: "a"})

		other := c.start("n9", joins, func(cfg *Config) { cfg.Topology = []byte(`{"keyHash":"murmur2","partitions":16}`) })
		err := c.leader().Join(t.Context(), "n9", address("n9"), Who{Actor: "ann"})
		if err == nil || !strings.Contains(err.Error(), "partitions is 16 here, but the cluster was made with 8") {
			t.Errorf("a node of another topology: %v", err)
		}
		if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "partitions is 16 here, but the cluster was made with 8") {
			t.Errorf("a node of another topology goes on asking, and ends with: %v", err)
		}
		delete(c.nodes, "n9")
		if err := c.leader().Join(t.Context(), "n8", address("n8"), Who{Actor: "ann"}); err == nil {
			t.Error("a node that is not there is let in")
		}

		for _, id := range []string{"n2", "n3"} {
			c.peers = append(c.peers, Peer{id, address(id)})
			c.ready(c.start(id, joins))
		}
		if _, err := c.nodes["n3"].until(t.Context(), func(m *registry.Model) bool {
			return m.Member("n1") != nil && m.Member("n2") != nil && m.Member("n3") != nil
		}); err != nil {
			t.Fatal(err)
		}
		voters := func() (n int) {
			for _, p := range c.leader().Status().Peers {
				if p.Voter {
					n++
				}
			}
			return n
		}
		for voters() < 3 {
			time.Sleep(100 * time.Millisecond)
		}
		if err := c.follower().Transfer(t.Context(), "n3", Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		for c.leader().ID() != "n3" {
			time.Sleep(100 * time.Millisecond)
		}
		if err := c.nodes["n2"].Remove(t.Context(), "n3", Who{Actor: "ann"}); err == nil {
			t.Error("the leader is removed under its own feet")
		}
		if err := c.nodes["n2"].Remove(t.Context(), "n1", Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the removed node must not announce itself again
		m := c.read(c.leader())
		if m.Member("n1") != nil || len(c.leader().Status().Peers) != 2 {
			t.Errorf("a removed node is still there: %v", c.leader().Status().Peers)
		}
		var actions []registry.Action
		for _, r := range m.Audit(registry.AuditFilter{Object: registry.Object{Kind: registry.KindMember}}) {
			actions = append(actions, r.Action)
		}
		if want := []registry.Action{registry.MemberRemove, registry.LeaderTransfer, registry.MemberJoin, registry.MemberJoin}; !slices.Equal(actions, want) {
			t.Errorf("the audit has %v", actions)
		}
		s := c.leader().QuorumStatus(t.Context())
		for _, p := range s.Peers {
			if !p.Reachable || p.Error != "" {
				t.Errorf("peer %+v", p)
			}
		}
	})
}

// TestReadIsNotAheadOfTheLeader: a follower may have applied what is committed
// before its leader has. Were that an answer, who asks another member next would
// be answered with what was before.
func TestReadIsNotAheadOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		leader, follower := c.leader(), c.follower()
		change := registry.Command{ID: "change", Actor: "ann", Time: 1, Ops: []registry.Op{registry.SetSignature{On: true}}}
		ahead, _ := c.read(follower).Apply(change)
		follower.machine.put(ahead)
		read := make(chan *registry.Model, 1)
		go func() { read <- c.read(follower) }()
		synctest.Wait()
		select {
		case <-read:
			t.Error("a follower answers with what its leader does not have")
			return
		default:
		}
		if _, err := leader.Propose(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if m := <-read; m != ahead {
			t.Errorf("once the leader has revision %d, the follower answers with %d", ahead.Revision(), m.Revision())
		}
	})
}

// TestNoPipeline: with it, a leader that was deposed sometimes cannot end. How
// it hangs is seen over processes, in TestQuorumIsLinearizable of cmd/tidemark.
func TestNoPipeline(t *testing.T) {
	n := openDisk(t, t.TempDir())
	_, err := n.trans.AppendEntriesPipeline(raft.ServerID(n.ID()), raft.ServerAddress(n.Address()))
	if !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("a pipeline: %v", err)
	}
}

func TestTopologyIsRefusedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stopAll()
		c.startAll()
		c.crash("n1")
		n := c.start("n1", func(cfg *Config) { cfg.Topology = []byte(`{"keyHash":"murmur2","partitions":16}`) })
		err := n.Ready(t.Context())
		if err == nil || !strings.Contains(err.Error(), "partitions is 16 here") {
			t.Errorf("another topology is ready: %v", err)
		}
		if err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "partitions is 16 here") {
			t.Errorf("Run ends with %v", err)
		}
		delete(c.nodes, "n1")
	})
}

func TestBackupAndRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.every = 16
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"}, config("KEPT"))
		var backup bytes.Buffer
		if err := c.follower().Backup(t.Context(), &backup, Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		c.propose(c.leader(), config("LATER"))
		before := c.read(c.leader()).Revision()
		if err := c.follower().Restore(t.Context(), bytes.NewReader(backup.Bytes()), Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		m := c.read(c.follower())
		if m.Sync("a", "KEPT") == nil || m.Sync("a", "LATER") != nil || m.Revision() <= before {
			t.Errorf("restored: revision %d after %d, %d configs", m.Revision(), before, m.SyncCount())
		}
		c.alike()
		for _, p := range c.peers {
			c.crash(p.ID)
		}
		for _, p := range c.peers {
			c.start(p.ID)
		}
		if c.read(c.follower()).Sync("a", "LATER") != nil {
			t.Error("after a restart it is as if nothing was restored")
		}
	})
}

// TestRegistryBeginsWithBackup also takes one that goes in several parts.
func TestRegistryBeginsWithBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"}, config("KEPT"))
		defer func(whole int) { chunkBytes = whole }(chunkBytes)
		chunkBytes = 4096
		noise := make([]byte, 4096)
		random := rand.NewChaCha8([32]byte{})
		for range 4 {
			random.Read(noise)
			c.propose(c.leader(), registry.Note{Action: registry.Redeliver, Detail: fmt.Appendf(nil, `"%x"`, noise)})
		}
		var backup bytes.Buffer
		if err := c.leader().Backup(t.Context(), &backup, Who{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		if backup.Len() < 2*chunkBytes {
			t.Fatalf("a backup of %d bytes goes in one part", backup.Len())
		}
		was := c.read(c.leader()).Cluster()

		file := filepath.Join(t.TempDir(), "backup")
		if err := os.WriteFile(file, backup.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		fresh := newCluster(t, 1)
		defer fresh.stopAll()
		n := fresh.start("n1", func(cfg *Config) { cfg.Restore = file })
		fresh.ready(n)
		if got := fresh.read(n); got.Sync("a", "KEPT") == nil || got.Cluster().ID != was.ID || got.Cluster().Key != was.Key {
			t.Error("the new registry is not the backup's")
		}
		if err := n.Restore(t.Context(), strings.NewReader("nonsense"), Who{}); err == nil {
			t.Error("nonsense is restored")
		}
		if err := n.Restore(t.Context(), io.LimitReader(bytes.NewReader(backup.Bytes()), int64(backup.Len()-9)), Who{}); err == nil {
			t.Error("half a backup is restored")
		}
	})
}

func TestProposalWithoutLeaderSaysNothingChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		n := c.start("n1")
		_, err := n.Propose(t.Context(), registry.Command{Actor: "x", Ops: []registry.Op{registry.SetSignature{}}})
		var unknown *UnknownError
		if err == nil || errors.As(err, &unknown) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("got %v", err)
		}
		if _, err := n.Propose(t.Context(), registry.Command{Actor: "x", Ops: nil}); problem(err) != registry.Invalid {
			t.Errorf("a command without operations: %v", err)
		}
	})
}

// TestLeavingLeaderHandsOver: a leader that is stopped in order costs no
// election time-out.
func TestLeavingLeaderHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.CreateInstance{ID: "a"})
		start := time.Now()
		c.stop(c.leader().ID())
		c.leader()
		if took := time.Since(start); took >= DefaultHeartbeatTimeout { // virtual time: exact
			t.Errorf("nobody led for %s", took)
		}
	})
}

func TestWaitPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.stopAll()
		c.startAll()
		c.propose(c.leader(), registry.MeetTopic{Topic: "t"})
		r := c.propose(c.follower(), registry.CreateInstance{ID: "a"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.follower().WaitPublished(ctx, r.Publish); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before anybody published: %v", err)
		}
		done := make(chan error)
		go func() { done <- c.follower().WaitPublished(t.Context(), r.Publish) }()
		c.propose(c.leader(), registry.MarkPublished{Revision: r.Publish, Topic: "t"})
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	ok := Config{Dir: "d", Topology: frozen}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"Dir is missing":        func(c *Config) { c.Dir = "" },
		"Topology is missing":   func(c *Config) { c.Topology = nil },
		"Peers and Join":        func(c *Config) { c.Peers, c.Join = []Peer{{DefaultID, "x"}}, []string{"y"} },
		"does not name":         func(c *Config) { c.Peers = []Peer{{"other", "x"}} },
		"at most 9":             func(c *Config) { c.Peers = make([]Peer, 10) },
		"HeartbeatTimeout":      func(c *Config) { c.HeartbeatTimeout = time.Millisecond },
		"SnapshotEvery":         func(c *Config) { c.SnapshotEvery = 1 },
		"is not loopback":       func(c *Config) { c.Listen = "0.0.0.0:7000" },
		"not loopback: set TLS": func(c *Config) { c.Listen = ":7000" },
	} {
		c := ok
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
