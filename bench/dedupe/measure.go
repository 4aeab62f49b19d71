package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/state"
)

// The workload: keys in two buckets, look-ups over three, as a window of two
// buckets has it.
const (
	oldestBucket = 9 // empty
	firstBucket  = 10
	secondBucket = 11
	batchKeys    = 1000
	mixBatch     = 500
)

// cost is what one kind of operation takes.
type cost struct {
	Ops       int64
	CPUMicros float64 // of the whole process, per operation
	Micros    float64 // by the clock, per operation
	P50, P99  float64 // of single calls, µs by the clock
	P999      float64
}

// result is what one layout's process found.
type result struct {
	Layout string
	Keys   int64
	Stores int

	Put, Miss, Hit, Mix cost

	DiskBytes, OwnBytes    int64
	RSSBytes, RSSPeakBytes int64
	HeapBytes              int64
	WriteAmplification     float64 // bytes written to tables and log by bytes of keys and values
	OpenClean, OpenCrash   span    // all stores
	ExpireMillis           float64 // the call
	ExpireCPU              float64 // seconds until settled
	DiskAfter              int64
}

// span is how long something took once, in seconds.
type span struct{ Clock, CPU float64 }

func spanSince(began time.Time, cpu time.Duration) span {
	return span{time.Since(began).Seconds(), (cpuTime() - cpu).Seconds()}
}

// runner measures one layout.
type runner struct {
	layout int
	dir    string
	keys   int64
	ops    int64
	stores []store
	shared *state.Shared
	rng    *rand.Rand
	next   int64 // keys put so far, over all stores
	out    result
}

func nthKey(i int64) state.Hash {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return xxh3.Hash128(b[:]).Bytes()
}

func (r *runner) run(stores int) (result, error) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	r.rng = rand.New(rand.NewPCG(1, 2))
	filterKeys = (r.keys/2 + r.ops) / int64(stores)
	r.out = result{Layout: layouts[r.layout].name, Keys: r.keys, Stores: stores}
	r.stores = make([]store, stores)
	for _, step := range []func() error{r.open, r.put, r.miss, r.hit, r.mix, r.weigh, r.reopen, r.expire, r.close} {
		if err := step(); err != nil {
			return r.out, err
		}
	}
	return r.out, nil
}

func (r *runner) path(i int) string { return filepath.Join(r.dir, strconv.Itoa(i)) }

func (r *runner) open() (err error) {
	if r.shared, err = state.NewShared(state.SharedConfig{}); err != nil {
		return err
	}
	for i := range r.stores {
		if r.stores[i], err = layouts[r.layout].open(r.shared, r.path(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) close() error {
	var errs []error
	for _, s := range r.stores {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, r.shared.Close())...)
}

// of is the store that a key belongs to.
func (r *runner) of(i int64) store { return r.stores[i/batchKeys%int64(len(r.stores))] }

func (r *runner) put() error {
	hist, began, cpu := newHist(), time.Now(), cpuTime()
	keys := make([]state.Hash, batchKeys)
	for r.next < r.keys {
		bucket := int64(firstBucket)
		if r.next >= r.keys/2 {
			bucket = secondBucket
		}
		for i := range keys {
			keys[i] = nthKey(r.next + int64(i))
		}
		t := time.Now()
		if err := r.of(r.next).put(bucket, keys, r.next+1); err != nil {
			return err
		}
		hist.RecordValue(time.Since(t).Nanoseconds())
		r.next += batchKeys
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.out.Put = costOf(r.next, began, cpu, hist, batchKeys)
	return nil
}

func (r *runner) miss() (err error) {
	r.out.Miss, err = r.look(r.ops, func(i int64) (store, state.Hash, bool) {
		return r.of(i), nthKey(1<<40 + i), false
	})
	return err
}

func (r *runner) hit() (err error) {
	r.out.Hit, err = r.look(r.ops/5, func(int64) (store, state.Hash, bool) {
		i := r.rng.Int64N(r.next)
		return r.of(i), nthKey(i), true
	})
	return err
}

// look measures look-ups: once without a clock for each, for the cost, and
// once with, for the percentiles.
func (r *runner) look(n int64, pick func(i int64) (s store, key state.Hash, there bool)) (cost, error) {
	one := func(i int64) error {
		s, key, there := pick(i)
		id, err := s.find(key, oldestBucket, secondBucket)
		if err == nil && (id != 0) != there {
			err = fmt.Errorf("key %x: id %d, there: %t", key, id, there)
		}
		return err
	}
	for i := range n / 10 { // warm up
		if err := one(n + i); err != nil {
			return cost{}, err
		}
	}
	runtime.GC()
	began, cpu := time.Now(), cpuTime()
	for i := range n {
		if err := one(i); err != nil {
			return cost{}, err
		}
	}
	c := costOf(n, began, cpu, nil, 1)
	hist := newHist()
	for i := range n / 4 {
		t := time.Now()
		if err := one(i); err != nil {
			return cost{}, err
		}
		hist.RecordValue(time.Since(t).Nanoseconds())
	}
	c.quantiles(hist, 1)
	return c, nil
}

// mix is the dedupe share of requests: one look-up each, 5 % of them of keys
// that are there, and a put for the others.
func (r *runner) mix() error {
	began, cpu := time.Now(), cpuTime()
	fresh := make([]state.Hash, 0, mixBatch)
	for done := int64(0); done < r.ops; {
		s := r.of(r.next)
		fresh = fresh[:0]
		for range mixBatch {
			key, there := nthKey(r.next+int64(len(fresh))), false
			if r.rng.IntN(20) == 0 {
				i := r.rng.Int64N(r.keys/batchKeys/int64(len(r.stores)))*batchKeys*int64(len(r.stores)) + r.next/batchKeys%int64(len(r.stores))*batchKeys
				key, there = nthKey(i), true
			}
			id, err := s.find(key, oldestBucket, secondBucket)
			if err != nil || (id != 0) != there {
				return fmt.Errorf("key %x: id %d, there: %t: %w", key, id, there, err)
			}
			if !there {
				fresh = append(fresh, key)
			}
		}
		if err := s.put(secondBucket, fresh, r.next+1); err != nil {
			return err
		}
		r.next += batchKeys // leaves a hole, and goes on to the next store
		done += mixBatch
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.out.Mix = costOf(r.ops, began, cpu, nil, 1)
	return nil
}

// weigh takes the figures of memory and disk.
func (r *runner) weigh() error {
	var logical, written uint64
	for _, s := range r.stores {
		m := s.pebble()
		all := m.Total()
		logical += m.WAL.BytesIn
		written += all.TableBytesFlushed + all.TableBytesCompacted + m.WAL.BytesWritten
		r.out.DiskBytes += int64(m.DiskSpaceUsage())
		r.out.OwnBytes += s.memory()
	}
	r.out.WriteAmplification = float64(written) / float64(logical)
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	r.out.HeapBytes = int64(ms.HeapInuse)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	r.out.RSSBytes, r.out.RSSPeakBytes = kib(status, "VmRSS:"), kib(status, "VmHWM:")
	return nil
}

func kib(status []byte, name string) int64 {
	_, rest, _ := strings.Cut(string(status), name)
	rest, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.ParseInt(rest, 10, 64) // 0 says unknown
	return n << 10
}

// reopen opens a copy of what a crash would leave, and then the stores after a
// clean close.
func (r *runner) reopen() error {
	live := r.dir
	r.dir = live + "-crashed"
	for i := range r.stores {
		if err := copyStore(filepath.Join(live, strconv.Itoa(i)), r.path(i)); err != nil {
			return err
		}
	}
	crashed := &runner{layout: r.layout, dir: r.dir, stores: make([]store, len(r.stores))}
	began, cpu := time.Now(), cpuTime()
	if err := crashed.open(); err != nil {
		return err
	}
	r.out.OpenCrash = spanSince(began, cpu)
	err := errors.Join(crashed.close(), os.RemoveAll(r.dir))
	r.dir = live
	if err != nil {
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	began, cpu = time.Now(), cpuTime()
	if err := r.open(); err != nil {
		return err
	}
	r.out.OpenClean = spanSince(began, cpu)
	return nil
}

// copyStore copies a store that is open and quiet. Tables do not change, so
// they are linked.
func copyStore(from, to string) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		src, dst := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		if filepath.Ext(src) == ".sst" {
			err = os.Link(src, dst)
		} else {
			var b []byte
			if b, err = os.ReadFile(src); err == nil {
				err = os.WriteFile(dst, b, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) expire() error {
	// What opening left behind must not count.
	if err := r.settle(); err != nil {
		return err
	}
	cpu := cpuTime()
	for _, s := range r.stores {
		began := time.Now()
		if err := s.expire(secondBucket); err != nil {
			return err
		}
		r.out.ExpireMillis = max(r.out.ExpireMillis, float64(time.Since(began).Microseconds())/1e3)
	}
	if err := r.settle(); err != nil {
		return err
	}
	r.out.ExpireCPU = (cpuTime() - cpu).Seconds()
	for _, s := range r.stores {
		r.out.DiskAfter += int64(s.pebble().DiskSpaceUsage())
	}
	return nil
}

// settle flushes and waits until compactions have nothing left to do.
func (r *runner) settle() error {
	for _, s := range r.stores {
		if err := s.flush(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(10 * time.Minute)
	for quiet := 0; quiet < 5; quiet++ {
		for _, s := range r.stores {
			m := s.pebble()
			if m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0 || m.Table.ObsoleteCount > 0 || m.Table.ZombieCount > 0 {
				quiet = -1
			}
		}
		if time.Now().After(deadline) {
			return errors.New("compactions do not end")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func newHist() *hdrhistogram.Histogram { return hdrhistogram.New(10, int64(10*time.Minute), 3) }

func costOf(n int64, began time.Time, cpu time.Duration, hist *hdrhistogram.Histogram, per float64) cost {
	c := cost{
		Ops:       n,
		CPUMicros: (cpuTime() - cpu).Seconds() * 1e6 / float64(n),
		Micros:    time.Since(began).Seconds() * 1e6 / float64(n),
	}
	if hist != nil {
		c.quantiles(hist, per)
	}
	return c
}

func (c *cost) quantiles(h *hdrhistogram.Histogram, per float64) {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e3 / per }
	c.P50, c.P99, c.P999 = at(50), at(99), at(99.9)
}

// cpuTime is what this process has used, all its threads.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // never for oneself
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
