package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// commitInterval of all programs that have one to choose.
const commitInterval = 100 * time.Millisecond

// Limits of the pipes. They are what was fastest here, within reason.
const (
	pipeBuffered      = 20_000 // records waiting for acknowledgement
	pipePoll          = 10_000 // records taken at once
	txnRecords        = 20_000 // requests in one transaction at most
	txnAge            = 100 * time.Millisecond
	txnTimeout        = 40 * time.Second
	fetchPartitionMax = 1 << 20 // bytes
)

// pipeConfig is the command line of the child that plays a pipe.
type pipeConfig struct {
	brokers  []string
	requests string
	group    string
	output   string
	second   string // txpipe only
}

func (c *pipeConfig) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(c.brokers...),
		kgo.ConsumerGroup(c.group),
		kgo.ConsumeTopics(c.requests),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(fetchPartitionMax),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(pipeBuffered),
	}
}

// runPipe copies requests to the same partition of the output until the
// context ends. A request is committed some time after its copy is acknowledged.
func runPipe(ctx context.Context, cfg pipeConfig) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	client, err := kgo.NewClient(append(cfg.options(), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(commitInterval))...)
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, pipePoll)
		if ctx.Err() != nil {
			return endPipe(ctx, client)
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("pipe: fetch requests: %w", err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for i, r := range p.Records {
				// Acknowledgements of a partition come in order: the last one
				// of what was fetched speaks for all.
				last := i == len(p.Records)-1
				client.Produce(ctx, copyTo(cfg.output, r), func(_ *kgo.Record, err error) {
					if err != nil {
						fail(fmt.Errorf("pipe: produce: %w", err))
					} else if last {
						client.MarkCommitRecords(r)
					}
				})
			}
		})
	}
}

// endPipe commits what is done; what is not done is not committed.
func endPipe(ctx context.Context, client *kgo.Client) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return client.CommitMarkedOffsets(end)
}

func copyTo(topic string, r *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers}
}

// runTxPipe writes two records a request in transactions that also commit the
// input. A transaction ends when the input stalls, at an age, or at a size.
func runTxPipe(ctx context.Context, cfg pipeConfig) error {
	session, err := kgo.NewGroupTransactSession(append(cfg.options(),
		kgo.TransactionalID(cfg.group+"-txn"), kgo.TransactionTimeout(txnTimeout),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return fmt.Errorf("txpipe: %w", err)
	}
	defer session.Close()
	for {
		fetches := session.PollRecords(ctx, pipePoll)
		if ctx.Err() != nil {
			return nil
		}
		if err := oneTransaction(ctx, session, cfg, fetches); err != nil {
			return fmt.Errorf("txpipe: %w", err)
		}
	}
}

func oneTransaction(ctx context.Context, session *kgo.GroupTransactSession, cfg pipeConfig, fetches kgo.Fetches) error {
	if err := session.Begin(); err != nil {
		return err
	}
	var failed atomic.Bool
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Store(true)
		}
	}
	began, n := time.Now(), 0
	for {
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("fetch requests: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, copyTo(cfg.output, r), promise)
			session.Produce(ctx, copyTo(cfg.second, r), promise)
		})
		n += fetches.NumRecords()
		if n >= txnRecords || time.Since(began) >= txnAge {
			break
		}
		var noWait context.Context // nil is how kgo is asked for what it has
		if fetches = session.PollRecords(noWait, pipePoll); fetches.NumRecords() == 0 {
			break
		}
	}
	// Not the cancellable context: the outcome of a commit must be known.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*txnTimeout)
	defer cancel()
	_, err := session.End(end, kgo.TransactionEndTry(!failed.Load()))
	return err
}
