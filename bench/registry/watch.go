package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// watch times how long a change takes to the last of many watchers.
func (b *bench) watch(ctx context.Context, c *cluster) error {
	leader, followers, err := c.roles(ctx)
	if err != nil {
		return err
	}
	follower := followers[0]
	w := &Watch{Watchers: b.watchers, Commit: report.NewLatency(), Told: report.NewLatency(), Total: report.NewLatency()}
	b.r.Watch = w
	step := b.prog.Step("changes to watchers", 2*int64(b.told))
	n := 0
	change := func() (int64, error) {
		n++
		step.Add(1)
		return leader.turn(ctx, n%2 == 0, false)
	}
	err = b.metered(partWatch, c.used, func() error {
		if w.CPUAlone, err = follower.cpuOf(func() error { return repeat(b.told, change) }); err != nil {
			return err
		}
		before, err := follower.child.Usage()
		if err != nil {
			return err
		}
		a := newAudience(ctx, follower.url, b.watchers)
		defer a.close()
		if _, err := a.wait(1); err != nil {
			return err
		}
		after, err := follower.child.Usage()
		if err != nil {
			return err
		}
		w.Bytes = after.RSS - before.RSS
		w.CPU, err = follower.cpuOf(func() error { return w.tell(b.told, change, a) })
		return err
	})
	if err != nil {
		return err
	}
	step.End("the last of %d told p50 %s ms, p99 %s ms after the call", b.watchers, report.Milliseconds(w.Total.At(50)), report.Milliseconds(w.Total.At(99)))
	return c.prober.restore(ctx, leader)
}

func repeat(n int, change func() (int64, error)) error {
	for range n {
		if _, err := change(); err != nil {
			return err
		}
	}
	return nil
}

// tell makes changes one at a time and waits for all watchers each time.
func (w *Watch) tell(n int, change func() (int64, error), a *audience) error {
	for range n {
		began := time.Now()
		revision, err := change()
		if err != nil {
			return err
		}
		answered := time.Now()
		last, err := a.wait(revision)
		if err != nil {
			return err
		}
		w.Commit.Record(answered.Sub(began))
		w.Told.Record(last.Sub(answered))
		w.Total.Record(last.Sub(began))
		w.Reached = len(a.at)
	}
	return nil
}

// cpuOf is the CPU time that a member's process takes for f.
func (m *member) cpuOf(f func() error) (time.Duration, error) {
	before, err := m.child.Usage()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := m.child.Usage()
	return after.CPU - before.CPU, err
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

func newAudience(ctx context.Context, url string, size int) *audience {
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{cancel: cancel, at: make([]int64, size)}
	a.changed.L = &a.mu
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range size {
		a.wg.Go(func() {
			err := watchAt(ctx, client, url, func(revision int64) bool { return a.told(i, revision, nil) })
			a.told(i, 0, fmt.Errorf("watcher %d: %w", i, err))
		})
	}
	return a
}

// watchAt follows a node's changes until told says false, or it fails.
func watchAt(ctx context.Context, client *http.Client, url string, told func(revision int64) bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/watch", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // the status is the error
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	return followEvents(res.Body, told)
}

// errEnough ends a watch whose watcher wants no more.
var errEnough = errors.New("no more is wanted")

// followEvents tells of the revision of each event.
func followEvents(r io.Reader, told func(revision int64) bool) error {
	lines := bufio.NewScanner(r)
	event, id := "", ""
	for lines.Scan() {
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "event":
			event = value
		case "id":
			id = value
		case "":
			if event == "" {
				continue // after a comment
			}
			revision, err := strconv.ParseInt(id, 10, 64)
			if err != nil || event != "change" && event != "revision" {
				return fmt.Errorf("an event %q with id %q", event, id)
			}
			if !told(revision) {
				return errEnough
			}
			event, id = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// told notes what a watcher was told; false: it ends.
func (a *audience) told(i int, revision int64, err error) bool {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.changed.Signal()
	if err == nil && revision < a.at[i] {
		err = fmt.Errorf("watcher %d was told of revision %d after %d", i, revision, a.at[i])
	}
	if err != nil {
		if a.err == nil {
			a.err = err
		}
		return false
	}
	if revision > a.at[i] { // not a sign of life
		a.at[i], a.last = revision, now
	}
	return true
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
