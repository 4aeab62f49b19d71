package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/bench/progress"
	"github.com/tidemarkio/tidemark/schemas"
)

// loadBuffered is how many records the loader has under way.
const loadBuffered = 50_000

// settings are the changes that bring the load's instance and businesses into being.
func (w *workload) settings() []schemas.Change {
	changes := []schemas.Change{{Kind: schemas.PutInstance, InstanceID: instanceID}}
	for b := range w.Businesses {
		changes = append(changes, schemas.Change{Kind: schemas.PutSync, InstanceID: instanceID, Sync: schemas.SyncConfig{
			BizType: bizType(b), Scope: schemas.ScopeSpecified, Target: schemas.TargetUser, MultiDevice: true,
			Persistent: true, RepushMode: schemas.RepushQueue, Online: true, Description: "benchmark",
		}})
	}
	return changes
}

// publishSettings writes one control record to each partition of a requests
// topic, as the registry's leader would: settings at revision 1, and the time.
func publishSettings(ctx context.Context, k *kafka, topic string, w *workload, key schemas.ClusterKey, now time.Time) error {
	client, err := producer(k.addrs)
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, w.Partitions)
	for p := range w.Partitions {
		c := schemas.Control{Partition: p, Time: now.UnixMilli(), Revision: 1, Changes: w.settings()}
		records[p] = &kgo.Record{
			Topic: topic, Partition: p, Value: c.Append(nil, key),
			Headers: []kgo.RecordHeader{{Key: schemas.HeaderControl}},
		}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("publish settings: %w", err)
	}
	return nil
}

// publishLoad writes the workload to a requests topic.
func publishLoad(ctx context.Context, k *kafka, topic string, w *workload, step *progress.Step) error {
	client, err := producer(k.addrs)
	if err != nil {
		return err
	}
	defer client.Close()
	var failed atomic.Pointer[error]
	w.each(func(it item) bool {
		r := &kgo.Record{Topic: topic, Partition: it.partition, Key: []byte(it.key), Value: append([]byte(nil), it.value...)}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
			step.Add(1)
		})
		return failed.Load() == nil
	})
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("publish load: %w", err)
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("publish load: %w", *err)
	}
	return nil
}

func producer(addrs []string) (*kgo.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(loadBuffered), kgo.UnknownTopicRetries(-1))
	if err != nil {
		return nil, fmt.Errorf("connect a producer: %w", err)
	}
	return client, nil
}

// clusterKey reads a key from a file (64 hex digits), or makes one and writes
// it to the file if there is none.
func clusterKey(file string) (schemas.ClusterKey, error) {
	var key schemas.ClusterKey
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		_, _ = rand.Read(key[:]) // never fails
		return key, os.WriteFile(file, []byte(hex.EncodeToString(key[:])+"\n"), 0o600)
	}
	if err != nil {
		return key, fmt.Errorf("read cluster key: %w", err)
	}
	if len(text) > 64 {
		text = text[:64]
	}
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(key) {
		return key, fmt.Errorf("cluster key %s: want 64 hex digits", file)
	}
	copy(key[:], b)
	return key, nil
}
