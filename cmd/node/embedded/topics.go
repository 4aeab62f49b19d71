package embedded

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/topology"
)

// shortSegmentBytes is the file size of topics that are kept for a day at
// most: trimming removes whole files, so smaller ones leave less behind.
const shortSegmentBytes = 1 << 20

// EnsureTopics creates what is missing and refuses a topic that exists with
// another number of partitions. A topic that Kafka would compact keeps every
// record here.
func (b *Broker) EnsureTopics(ctx context.Context, topics []topology.Topic) error {
	var kept []string
	for _, t := range topics {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.ensure(t); err != nil {
			return fmt.Errorf("topic %s: %w", t.Name, err)
		}
		b.mu.Lock()
		b.topics[t.Name] = t
		b.mu.Unlock()
		if uncompacted(t) {
			kept = append(kept, t.Name)
		}
	}
	if len(kept) > 0 && b.cfg.Dir != "" {
		b.cfg.Logger.Info("the embedded broker does not compact: these topics keep every record (trimmed by age where they have one)", "topics", kept)
	}
	if b.cfg.SyncWrites {
		return syncDir(b.cfg.Dir)
	}
	return nil
}

func (b *Broker) ensure(t topology.Topic) error {
	if have := len(b.cluster.PartitionInfos(t.Name)); have > 0 {
		if have != int(t.Partitions) {
			return fmt.Errorf("it has %d partitions, but the topology says %d; the number is fixed once there is data", have, t.Partitions)
		}
		return nil
	}
	configs := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
	if t.Retention > 0 && t.Retention <= shortLived {
		configs["segment.bytes"] = fmt.Sprint(shortSegmentBytes)
	}
	return b.cluster.CreateTopic(t.Name, t.Partitions, configs)
}

func uncompacted(t topology.Topic) bool { return t.Cleanup != topology.Delete && t.Cleanup != "" }

// Size is what a topic takes.
type Size struct {
	Topic      string
	Partitions int
	Bytes      int64 // of record batches
}

// Sizes lists the topics with data, those of the map and others, by name.
func (b *Broker) Sizes() ([]Size, error) {
	names := make(map[string]bool)
	b.mu.Lock()
	for name := range b.topics {
		names[name] = true
	}
	b.mu.Unlock()
	if b.cfg.Dir != "" {
		if err := namesOnDisk(b.cfg.Dir, names); err != nil {
			return nil, fmt.Errorf("embedded broker: list topics: %w", err)
		}
	}
	var sizes []Size
	for _, name := range slices.Sorted(maps.Keys(names)) {
		infos := b.cluster.PartitionInfos(name)
		if len(infos) == 0 {
			continue
		}
		s := Size{Topic: name, Partitions: len(infos)}
		for _, p := range infos {
			s.Bytes += p.NumBytes
		}
		sizes = append(sizes, s)
	}
	return sizes, nil
}

func namesOnDisk(dir string, into map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(dir, partitionsName))
	if os.IsNotExist(err) {
		return nil
	}
	for _, e := range entries {
		if topic, _, ok := partitionOf(e.Name()); ok {
			into[topic] = true
		}
	}
	return err
}

// partitionDir is where the broker keeps a partition.
func partitionDir(dir, topic string, p int32) string {
	return filepath.Join(dir, partitionsName, fmt.Sprintf("%s-%d", url.PathEscape(topic), p))
}

// partitionOf reads the name of a partition's directory.
func partitionOf(name string) (topic string, p int32, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return "", 0, false
	}
	if _, err := fmt.Sscanf(name[i+1:], "%d", &p); err != nil {
		return "", 0, false
	}
	topic, err := url.PathUnescape(name[:i])
	return topic, p, err == nil
}
