package node

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const (
	// tellUsesEvery is how often the registry hears of keys that were used.
	tellUsesEvery = time.Minute
	// keyUsesMax bounds what is noted in between; further keys wait for their
	// next use.
	keyUsesMax = registry.MaxCommandOps
)

// keyUses collects when keys last opened a door, so that the registry is told
// once a minute and not with every call.
type keyUses struct {
	mu   sync.Mutex
	last map[registry.KeyUse]int64 // by use with Time 0
}

func newKeyUses() *keyUses { return &keyUses{last: make(map[registry.KeyUse]int64)} }

func (u *keyUses) note(instanceID string, kind registry.KeyKind, id string, now time.Time) {
	k := registry.KeyUse{InstanceID: instanceID, For: kind, ID: id}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, there := u.last[k]; there || len(u.last) < keyUsesMax {
		u.last[k] = now.UnixMilli()
	}
}

func (u *keyUses) take() []registry.KeyUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]registry.KeyUse, 0, len(u.last))
	for k, at := range u.last {
		k.Time = at
		all = append(all, k)
	}
	clear(u.last)
	return all
}

// tellKeyUses tells the registry, every minute and once more at the end.
func (n *Node) tellKeyUses(ctx context.Context) error {
	t := time.NewTicker(tellUsesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			n.tellKeyUsesNow(context.WithoutCancel(ctx))
			return nil
		case <-t.C:
			n.tellKeyUsesNow(ctx)
		}
	}
}

func (n *Node) tellKeyUsesNow(ctx context.Context) {
	uses := n.uses.take()
	if len(uses) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := n.registry.Propose(ctx, registry.Command{ID: rand.Text(), Actor: "doors", Time: time.Now().UnixMilli(), Ops: []registry.Op{registry.KeysUsed{Uses: uses}}})
	if err != nil && ctx.Err() == nil {
		n.cfg.Log.Warn("cannot note when keys were used", "keys", len(uses), "err", err)
	}
}
