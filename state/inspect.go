package state

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

// DefaultInspectLimit is how many counters, and dedupe keys of each bucket,
// [Inspect] prints if not told.
const DefaultInspectLimit = 10

// InspectConfig says what to print of a store.
type InspectConfig struct {
	Dir string
	FS  vfs.FS // default: the operating system's

	// Instance, Business and LinkToken choose counters whose names begin so.
	Instance, Business, LinkToken string
	// Key chooses one dedupe key; nil: any.
	Key *Hash
	// Limit is how many counters, and dedupe keys of each bucket, to print;
	// default 10, -1: all.
	Limit int
}

func (c *InspectConfig) limit() int {
	if c.Limit == 0 {
		return DefaultInspectLimit
	}
	return c.Limit
}

// Inspect prints a task's store that no process runs, in words. It changes
// nothing in it; what a crash left in the log is shown, and stays in the log.
func Inspect(w io.Writer, cfg InspectConfig) error {
	shared, err := NewShared(SharedConfig{CacheBytes: 8 << 20})
	if err != nil {
		return err
	}
	db, err := shared.OpenDB(DBConfig{
		Dir: cfg.Dir, FS: cfg.FS, ReadOnly: true, Log: slog.New(slog.DiscardHandler), Merger: maxMerger, Spans: taskSpans,
	})
	if err != nil {
		return errors.Join(err, shared.Close())
	}
	p := &printer{w: w, db: db, cfg: cfg}
	return errors.Join(p.print(), db.Close(), shared.Close())
}

// printer prints a store, section by section. Its first error stays.
type printer struct {
	w   io.Writer
	db  *DB
	cfg InspectConfig
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) print() error {
	for _, section := range []func() error{p.head, p.position, p.settings, p.counters, p.dedupe, p.notes} {
		if err := section(); err != nil {
			return fmt.Errorf("inspect store %s: %w", p.cfg.Dir, err)
		}
	}
	return p.err
}

func (p *printer) head() error {
	is, err := p.db.identity()
	if err != nil {
		return err
	}
	if is.Kind != KindTask {
		return fmt.Errorf("%w: it is a store of kind %q, this prints %q", ErrForeign, is.Kind, KindTask)
	}
	p.f("store      %s of partition %d, format %d\n", is.Kind, is.Partition, formatVersion)
	p.f("topology   %s %s\n", is.Topology, is.Frozen)
	return nil
}

func (p *printer) position() error {
	progress, err := p.db.getCopy(keyRestore)
	if err != nil {
		return err
	}
	if progress != nil {
		p.f("restoring  not complete; fed up to %q\n", progress)
	}
	at, err := readStand(p.db)
	if err != nil {
		return err
	}
	if at.Position == Start() {
		p.f("position   none: nothing was applied\n")
		return nil
	}
	p.f("position   request %d, oplog offset %d, entry %d\n", at.Request, at.OplogOffset, at.Entry)
	p.f("chain      %x\n", at.Chain)
	p.f("time       %s (%d)\n", time.UnixMilli(at.StreamTime).UTC().Format(time.RFC3339), at.StreamTime)
	p.f("settings   revision %d, decision rules %d\n", at.Revision, at.Rules)
	return nil
}

func (p *printer) settings() error {
	all, err := readSettings(p.db)
	for i := range all {
		c := &all[i]
		if c.Kind == schemas.PutInstance {
			p.f("  instance %q\n", c.InstanceID)
			continue
		}
		p.f("    business %q: %s\n", c.Sync.BizType, describe(&c.Sync))
	}
	return err
}

func describe(s *schemas.SyncConfig) string {
	words := []string{s.Scope, s.Target}
	for _, w := range []struct {
		is  bool
		yes string
		no  string
	}{
		{s.MultiDevice, "multi-device", "single-device"}, {s.Persistent, "persistent", "not persistent"},
		{s.Consistency, "consistency checked", ""}, {s.Online, "online", "offline"},
	} {
		if w.is {
			words = append(words, w.yes)
		} else {
			words = append(words, w.no)
		}
	}
	if s.RepushMode != "" {
		words = append(words, fmt.Sprintf("%s %d", s.RepushMode, s.Threshold))
	}
	return strings.Join(filled(words), ", ")
}

func filled(words []string) []string {
	var out []string
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}

// counters prints those that were asked for, in the order of their names'
// hashes, and counts them all.
func (p *printer) counters() error {
	w := walker{db: p.db}
	n, chosen := 0, 0
	p.f("counters\n")
	err := p.db.scan([]byte{kindCounter}, []byte{kindCounter + 1}, func(it *pebble.Iterator) error {
		n++
		return w.visit(it, -2, func(c CounterPut) error {
			instanceID, bizType, linkToken, err := schemas.ParseCounterKey(c.Key)
			if err != nil || !strings.HasPrefix(instanceID, p.cfg.Instance) || !strings.HasPrefix(bizType, p.cfg.Business) || !strings.HasPrefix(linkToken, p.cfg.LinkToken) {
				return err
			}
			if chosen++; p.shows(chosen) {
				p.f("  %q %q %q: last id %d, given by request %d\n", instanceID, bizType, linkToken, c.ID, c.Position)
			}
			return p.err
		})
	})
	p.f("  %d of them, %d as asked\n", n, chosen)
	return errors.Join(err, w.close())
}

// shows reports whether the nth of a kind is within the limit.
func (p *printer) shows(n int) bool { return p.cfg.limit() < 0 || n <= p.cfg.limit() }

// bucketCount is what was met of one bucket.
type bucketCount struct {
	bucket
	batches, journaled, paged, orphaned, chosen int
}

// dedupe prints the keys that were asked for, as they come.
func (p *printer) dedupe() error {
	var c *bucketCount
	err := p.db.scan([]byte{kindDedupe}, []byte{kindDedupe + 1}, func(it *pebble.Iterator) error {
		k, err := parseDedupe(it.Key())
		if err != nil {
			return err
		}
		if c == nil || c.number != k.bucket {
			p.endBucket(c)
			c = &bucketCount{bucket: bucket{number: k.bucket}}
			p.f("dedupe     bucket %d\n", k.bucket)
		}
		return errors.Join(p.dedupeValue(c, k, it.Value()), p.err)
	})
	p.endBucket(c)
	return err
}

func (p *printer) dedupeValue(c *bucketCount, k dedupeKey, v []byte) error {
	if k.tag == tagRecord {
		err := c.parse(v)
		for _, r := range c.runs {
			p.f("  run %d: %d keys in up to %d pages\n", r.id, r.keys, 1<<r.bits)
		}
		return err
	}
	count, where := &c.journaled, "the journal"
	switch {
	case k.tag == tagJournal:
		c.batches++
	case c.find(k.run) != nil:
		count, where = &c.paged, fmt.Sprintf("run %d", k.run)
	default:
		count, where = &c.orphaned, fmt.Sprintf("run %d, an unfinished merge", k.run)
	}
	return eachEntry(v, func(h *Hash, id int64) {
		*count++
		if p.cfg.Key != nil && *p.cfg.Key != *h {
			return
		}
		if c.chosen++; p.shows(c.chosen) {
			p.f("    %x: id %d, in %s\n", *h, id, where)
		}
	})
}

func (p *printer) endBucket(c *bucketCount) {
	if c == nil {
		return
	}
	p.f("  %d keys, %d of them in a journal of %d batches, %d as asked\n", c.paged+c.journaled, c.journaled, c.batches, c.chosen)
	if c.orphaned > 0 {
		p.f("  %d more of an unfinished merge, which the next start removes\n", c.orphaned)
	}
}

func (p *printer) notes() error {
	prefix := noteKey("")
	return p.db.scan(prefix, append(prefix[:len(prefix)-1:len(prefix)-1], prefix[len(prefix)-1]+1), func(it *pebble.Iterator) error {
		p.f("note       %s: %q\n", it.Key()[len(prefix):], it.Value())
		return nil
	})
}
