package state

import (
	"fmt"
	"strings"
)

// Per-item estimates of a [Ledger], from heap profiles.
const (
	openFileBytes   = 10 << 10 // reader, properties and handle of an open table
	compactionBytes = 4 << 20  // input and output buffers of one compaction
)

// LedgerLine is one kind of memory: Count pieces of at most Each bytes.
type LedgerLine struct {
	What  string
	Count int
	Each  int64
}

// Bytes is the line's sum.
func (l LedgerLine) Bytes() int64 { return int64(l.Count) * l.Each }

// Ledger is what the stores of a process use at most, as a sum that can be
// printed and checked before anything is opened. What only passes by (batches,
// Go's own overhead) is not in it.
type Ledger struct {
	Lines     []LedgerLine
	memtables int64 // within the cache line
	cache     int64
}

// Ledger starts the sum with what the stores share.
func (s *Shared) Ledger() Ledger {
	return Ledger{
		cache: s.cfg.CacheBytes,
		Lines: []LedgerLine{
			{"cache: blocks and memtables", 1, s.cfg.CacheBytes},
			{"open tables", s.cfg.OpenFiles, openFileBytes},
			{"compactions", s.cfg.Compactions, compactionBytes},
		},
	}
}

// Add puts a line for n stores into the sum.
func (l *Ledger) Add(what string, n int, each int64) {
	l.Lines = append(l.Lines, LedgerLine{what, n, each})
}

// AddMemtables says that n stores have memtables of that size each. They are
// taken out of the cache, so they add nothing, but must fit.
func (l *Ledger) AddMemtables(n int, memTableBytes int64) {
	l.memtables += int64(n) * memtablesOf(memTableBytes)
}

// Bytes is the sum.
func (l *Ledger) Bytes() int64 {
	var sum int64
	for _, line := range l.Lines {
		sum += line.Bytes()
	}
	return sum
}

// Check refuses stores that may use more than the budget, in bytes, or whose
// memtables leave the cache no room for blocks. The error shows the sum.
func (l *Ledger) Check(budget int64) error {
	if l.memtables > l.cache*7/8 {
		return fmt.Errorf("state: memtables of up to %s do not fit into 7/8 of a cache of %s: give it more memory, fewer stores or smaller memtables\n%s",
			mib(l.memtables), mib(l.cache), l)
	}
	if sum := l.Bytes(); sum > budget {
		return fmt.Errorf("state: the stores may use %s, over the budget of %s: raise the budget, or lower a line of this sum\n%s", mib(sum), mib(budget), l)
	}
	return nil
}

// String draws the sum, a line each.
func (l *Ledger) String() string {
	var b strings.Builder
	for _, line := range l.Lines {
		fmt.Fprintf(&b, "%12s  %s", mib(line.Bytes()), line.What)
		if line.Count != 1 {
			fmt.Fprintf(&b, ": %d of %s", line.Count, mib(line.Each))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%12s  in all (memtables: up to %s of the cache)\n", mib(l.Bytes()), mib(l.memtables))
	return b.String()
}

func mib(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
