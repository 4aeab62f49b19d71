package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
	"github.com/tidemarkio/tidemark/bench/report"
	"github.com/tidemarkio/tidemark/topology/registry"
	"github.com/tidemarkio/tidemark/topology/registry/quorum"
)

// watch times how long a change takes to the last of many watchers.
func (b *bench) watch(ctx context.Context) (err error) {
	l, err := openLocal(ctx, filepath.Join(b.dir, "watch"))
	if err != nil {
		return err
	}
	defer func() { err = closing(err, l.close) }()
	leader, follower := l.roles()
	w := &Watch{Watchers: b.watchers, Commit: report.NewLatency(), Told: report.NewLatency(), Total: report.NewLatency()}
	b.r.Watch = w
	step := b.prog.Step("changes to watchers", 2*int64(b.told))
	n := 0
	change := func() (registry.Result, error) {
		n++
		step.Add(1)
		return leader.Propose(ctx, registry.Command{Actor: "bench", Ops: []registry.Op{registry.SetSignature{On: n%2 == 1}}})
	}
	return b.metered(partWatch, nobody, func() error {
		if w.CPUAlone, err = cpuOf(func() error { return repeat(b.told, change) }); err != nil {
			return err
		}
		before := memory()
		a := newAudience(ctx, follower, b.watchers)
		defer a.close()
		a.wait(follower.Model().Revision())
		w.Bytes = memory() - before
		if w.CPU, err = cpuOf(func() error { return w.tell(b.told, change, a) }); err != nil {
			return err
		}
		step.End("the last of %d told p50 %s ms, p99 %s ms after the proposal", b.watchers, report.Milliseconds(w.Total.At(50)), report.Milliseconds(w.Total.At(99)))
		return nil
	})
}

// closing joins the error of a close with the one before it.
func closing(err error, f func() error) error {
	if e := f(); err == nil {
		return e
	}
	return err
}

func repeat(n int, change func() (registry.Result, error)) error {
	for range n {
		if _, err := change(); err != nil {
			return err
		}
	}
	return nil
}

// tell makes changes one at a time and waits for all watchers each time.
func (w *Watch) tell(n int, change func() (registry.Result, error), a *audience) error {
	for range n {
		began := time.Now()
		r, err := change()
		if err != nil {
			return err
		}
		answered := time.Now()
		last, err := a.wait(r.Revision)
		if err != nil {
			return err
		}
		w.Commit.Record(answered.Sub(began))
		w.Told.Record(last.Sub(answered))
		w.Total.Record(last.Sub(began))
	}
	return nil
}

// cpuOf is the CPU time that this process takes for f.
func cpuOf(f func() error) (time.Duration, error) {
	before, err := child.Of(os.Getpid())
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := child.Of(os.Getpid())
	return after.CPU - before.CPU, err
}

// memory is what heap and stacks take after a collection.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// audience is many watchers of one node.
type audience struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	at      []int64   // revision of each
	changed sync.Cond // at changed
	last    time.Time // when the latest of them was told
	err     error
}

func newAudience(ctx context.Context, n *quorum.Node, size int) *audience {
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{cancel: cancel, at: make([]int64, size)}
	a.changed.L = &a.mu
	for i := range size {
		a.wg.Go(func() {
			w := n.Watch(0)
			for {
				u, err := w.Next(ctx)
				if !a.told(i, u, err) {
					return
				}
			}
		})
	}
	return a
}

// told notes what a watcher was told; false: it ends.
func (a *audience) told(i int, u quorum.Update, err error) bool {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && u.Revision <= a.at[i] {
		err = fmt.Errorf("watcher %d was told of revision %d after %d", i, u.Revision, a.at[i])
	}
	if err != nil {
		a.err = err
	}
	a.at[i], a.last = u.Revision, now
	a.changed.Signal()
	return err == nil
}

// wait returns when every watcher stands at a revision or above, and when the
// last one came there.
func (a *audience) wait(revision int64) (time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := 0; i < len(a.at) && a.err == nil; {
		if a.at[i] >= revision {
			i++
			continue
		}
		a.changed.Wait()
	}
	return a.last, a.err
}

func (a *audience) close() {
	a.cancel()
	a.wg.Wait()
}
