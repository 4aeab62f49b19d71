package runtime

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitTimeout bounds one commit: the next one says more anyway.
const commitTimeout = 5 * time.Second

func (rt *Runtime) setCommit(partition int32, position int64) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if position > rt.confirmed(partition) {
		rt.commit[partition], rt.handedIn[partition] = position, position
	}
}

// confirmed is the newest position handed in for a commit since this process
// got the partition; -1 for none. The caller holds the lock.
func (rt *Runtime) confirmed(partition int32) int64 {
	if p, ok := rt.handedIn[partition]; ok {
		return p
	}
	return -1
}

// commitLoop moves the group's offsets: everything up to them, side outputs
// included, is acknowledged. Lag tools see them; recovery only uses them to
// know which side outputs need no repeating.
func (rt *Runtime) commitLoop(ctx context.Context) {
	t := time.NewTicker(rt.cfg.CommitEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			rt.commitNow(ctx)
		}
	}
}

func (rt *Runtime) commitNow(ctx context.Context) {
	rt.mu.Lock()
	member, pending := rt.member, rt.commit
	rt.commit = make(map[int32]int64)
	rt.mu.Unlock()
	if member == nil || len(pending) == 0 {
		return
	}
	offsets := make(map[int32]kgo.EpochOffset, len(pending))
	for p, position := range pending {
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: position + 1}
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	member.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{rt.topo.Requests.Name: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			if err != nil && ctx.Err() == nil {
				rt.cfg.Log.Debug("commit offsets", "err", err) // routine while the group rebalances
			}
		})
}

// committedPosition is what the group has committed, as last read.
func (rt *Runtime) committedPosition(partition int32) int64 {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if c, ok := rt.committed[partition]; ok {
		return c
	}
	return -1
}

// watchCommitted reads the group's offsets for standbys, and asks for a
// rebalance when a standby that is to take over has become warm.
func (rt *Runtime) watchCommitted(ctx context.Context) {
	t := time.NewTicker(2 * housekeeping)
	defer t.Stop()
	asked := map[int32]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !rt.hasStandbys() {
			continue
		}
		offsets, err := rt.admin.FetchOffsetsForTopics(ctx, rt.group, rt.topo.Requests.Name)
		if err != nil {
			continue
		}
		rt.mu.Lock()
		for p := range rt.topo.Partitions {
			if o, ok := offsets.Lookup(rt.topo.Requests.Name, p); ok && o.Err == nil && o.At >= 0 {
				rt.committed[p] = o.At - 1
			}
		}
		ask, member := rt.newlyWarm(asked), rt.member
		rt.mu.Unlock()
		if ask {
			member.ForceRebalance()
		}
	}
}

func (rt *Runtime) hasStandbys() bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return len(rt.told.Standby) > 0 && rt.member != nil
}

// newlyWarm reports whether a partition that waits to be moved here has become
// warm since we last asked. The caller holds the lock.
func (rt *Runtime) newlyWarm(asked map[int32]bool) bool {
	news := false
	for _, p := range rt.told.WarmUp {
		r := rt.runners[p]
		if r == nil || r.owner {
			delete(asked, p)
			continue
		}
		lag, ok := rt.warmth(p, r)
		warm := ok && lag <= rt.cfg.AcceptableLag
		if warm && !asked[p] {
			news = true
		}
		asked[p] = warm
	}
	return news
}
