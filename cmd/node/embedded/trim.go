package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidemarkio/tidemark/topology"
)

const (
	// checkEvery is how often sizes are looked at and old files trimmed.
	checkEvery = time.Minute
	// trimGrace is how long after the start nothing is trimmed: whoever was
	// away as long as the broker first gets to read.
	trimGrace = time.Hour
	// shortLived is the longest retention of a topic that counts as short.
	shortLived = 24 * time.Hour
)

// keepUp looks after the directory until ctx ends.
func (b *Broker) keepUp(ctx context.Context) {
	started, warned := b.cfg.now(), make(map[string]int64)
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if b.cfg.now().Sub(started) >= trimGrace {
			if err := b.trim(ctx); err != nil {
				b.cfg.Logger.Error("embedded broker: trim old records", "err", err)
			}
		}
		b.warnSizes(warned)
	}
}

// trim deletes what is older than its topic's retention, in whole files and
// never the newest: the broker forgets where an emptied partition ended. A
// file's age is that of its last write, so no record's timestamp is trusted.
func (b *Broker) trim(ctx context.Context) error {
	b.mu.Lock()
	var topics []topology.Topic
	for _, t := range b.topics {
		if t.Retention > 0 {
			topics = append(topics, t)
		}
	}
	b.mu.Unlock()
	var errs []error
	for _, t := range topics {
		for p := range t.Partitions {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := b.trimPartition(t, p); err != nil {
				errs = append(errs, fmt.Errorf("%s-%d: %w", t.Name, p, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (b *Broker) trimPartition(t topology.Topic, p int32) error {
	segs, err := listSegments(partitionDir(b.cfg.Dir, t.Name, p))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	start := expired(segs, b.cfg.now().Add(-t.Retention))
	info := b.cluster.PartitionInfo(t.Name, p)
	if info == nil || start <= info.LogStartOffset || start >= info.HighWatermark {
		return nil
	}
	// What stays must be on disk before the rest goes.
	if err := syncFile(segs[len(segs)-1].path); err != nil {
		return err
	}
	if err := b.cluster.DeleteRecords(t.Name, p, start); err != nil {
		return err
	}
	b.cfg.Logger.Debug("embedded broker: trimmed", "topic", t.Name, "partition", p, "start", start)
	return nil
}

// expired is the offset below which every file was last written before the
// given time; the newest file with data in it always stays.
func expired(segs []segment, before time.Time) int64 {
	for len(segs) > 0 && segs[len(segs)-1].info.Size() == 0 {
		segs = segs[:len(segs)-1]
	}
	start := int64(-1)
	for i := 0; i+1 < len(segs) && segs[i].info.ModTime().Before(before); i++ {
		start = segs[i+1].base
	}
	return start
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// warnSizes says what grows past what this broker is for, once for each
// doubling.
func (b *Broker) warnSizes(warned map[string]int64) {
	sizes, err := b.Sizes()
	if err != nil {
		b.cfg.Logger.Error("embedded broker: sizes", "err", err)
		return
	}
	var total int64
	for _, s := range sizes {
		total += s.Bytes
		b.mu.Lock()
		t, ours := b.topics[s.Topic]
		b.mu.Unlock()
		if ours && uncompacted(t) && past(warned, s.Topic, s.Bytes, WarnUncompactedBytes) {
			b.cfg.Logger.Warn("a topic that Kafka would compact has grown large; the embedded broker keeps all of it. For this much data run a real Kafka (--brokers)",
				"topic", s.Topic, "bytes", s.Bytes)
		}
	}
	if past(warned, "", total, WarnBytes) {
		b.cfg.Logger.Warn("the embedded broker holds more than it is made for; run a real Kafka (--brokers)", "bytes", total, "madeFor", int64(WarnBytes))
	}
}

// past reports whether n has passed the limit, or doubled since it was said.
func past(warned map[string]int64, name string, n, limit int64) bool {
	if n < max(limit, 2*warned[name]) {
		return false
	}
	warned[name] = n
	return true
}
