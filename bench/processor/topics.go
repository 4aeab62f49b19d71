package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafka is what the harness itself asks of the broker.
type kafka struct {
	addrs  []string
	client *kgo.Client
	admin  *kadm.Client
}

func connect(addrs []string) (*kafka, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("connect to Kafka: %w", err)
	}
	return &kafka{addrs, client, kadm.NewClient(client)}, nil
}

func (k *kafka) close() { k.client.Close() }

// createTopics makes topics that are not there yet, and returns when every
// partition can be asked: the broker answers a creation before it serves it.
func (k *kafka) createTopics(ctx context.Context, partitions int32, topics ...string) error {
	made, err := k.admin.CreateTopics(ctx, partitions, 1, nil, topics...)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range made.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", t.Topic, t.Err)
		}
	}
	for {
		listed, err := k.admin.ListEndOffsets(ctx, topics...)
		if err == nil {
			err = listed.Error()
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for new topics: %w", err)
		case <-time.After(watchPoll):
		}
	}
}

// forget deletes topics and a group; what is not there is as good as deleted.
func (k *kafka) forget(ctx context.Context, group string, topics ...string) error {
	if len(topics) > 0 {
		gone, err := k.admin.DeleteTopics(ctx, topics...)
		if err != nil {
			return fmt.Errorf("delete topics: %w", err)
		}
		for _, t := range gone.Sorted() {
			if t.Err != nil && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
				return fmt.Errorf("delete topic %s: %w", t.Topic, t.Err)
			}
		}
	}
	if group == "" {
		return nil
	}
	// A member that was killed holds its group until its session ends.
	for {
		one, err := k.admin.DeleteGroup(ctx, group)
		switch {
		case err == nil && one.Err == nil, errors.Is(err, kerr.GroupIDNotFound), errors.Is(one.Err, kerr.GroupIDNotFound):
			return nil
		case errors.Is(err, kerr.NonEmptyGroup), errors.Is(one.Err, kerr.NonEmptyGroup):
		default:
			return fmt.Errorf("delete group %s: %w", group, errors.Join(err, one.Err))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("delete group %s: it still has members: %w", group, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// ends are the end offsets of a topic's partitions.
func (k *kafka) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	listed, err := k.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list end offsets of %s: %w", topic, err)
	}
	ends := make(map[int32]int64)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// committed are a group's committed offsets in a topic.
func (k *kafka) committed(ctx context.Context, group, topic string) (map[int32]int64, error) {
	found, err := k.admin.FetchOffsets(ctx, group)
	if err == nil {
		err = found.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	at := make(map[int32]int64)
	found.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic {
			at[o.Partition] = o.At
		}
	})
	return at, nil
}

func sum(offsets map[int32]int64) int64 {
	var all int64
	for _, o := range offsets {
		all += max(o, 0)
	}
	return all
}

// readAll gives every record of a topic that a read_committed reader sees up
// to its present end, control markers aside.
func (k *kafka) readAll(ctx context.Context, topic string, each func(*kgo.Record) error) error {
	listed, err := k.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	left := make(map[int32]int64) // end offsets not yet reached
	from := make(map[int32]kgo.Offset)
	listed.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
			from[o.Partition] = kgo.NewOffset().AtStart()
		}
	})
	if len(left) == 0 {
		return nil
	}
	// Control records are kept because the last record of a partition may be one.
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addrs...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(fetchPartitionMax))
	if err != nil {
		return fmt.Errorf("read %s: %w", topic, err)
	}
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if !r.Attrs.IsControl() {
				if err := each(r); err != nil {
					return fmt.Errorf("%s, partition %d, offset %d: %w", topic, r.Partition, r.Offset, err)
				}
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}
