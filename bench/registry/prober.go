package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// resultsPartition is where the prober waits for its results.
const resultsPartition = 0

// answerLimit is how long a request may take to be answered.
const answerLimit = 30 * time.Second

// prober asks partitions what they make of a request, through Kafka alone.
type prober struct {
	client *kgo.Client
	topic  string
	tokens []string // of each partition: a link token that belongs there
	run    string   // sets this process's requests apart
	next   atomic.Int64
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	waiting map[string]chan schemas.Code // by request id
}

func newProber(brokers []string, topo *topology.Topology) (*prober, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topo.Results.Name: {resultsPartition: kgo.NewOffset().AtStart()}}),
	)
	if err != nil {
		return nil, fmt.Errorf("connect the prober: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &prober{
		client: client, topic: topo.Requests.Name, tokens: tokensOf(topo), run: strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + strconv.Itoa(os.Getpid()),
		cancel: cancel, done: make(chan struct{}), waiting: make(map[string]chan schemas.Code),
	}
	go p.read(ctx)
	return p, nil
}

// tokensOf finds a link token for each partition.
func tokensOf(topo *topology.Topology) []string {
	tokens := make([]string, topo.Partitions)
	for i, left := 0, len(tokens); left > 0; i++ {
		token := fmt.Sprint("probe-", i)
		r := schemas.Request{InstanceID: probeInstance, BizType: probeBusiness, LinkToken: token}
		if p := topo.Of(r.Key()); tokens[p] == "" {
			tokens[p] = token
			left--
		}
	}
	return tokens
}

// read hands results to those who wait for them.
func (p *prober) read(ctx context.Context) {
	defer close(p.done)
	for ctx.Err() == nil {
		p.client.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			var r schemas.Result
			if r.DecodeProto(rec.Value) != nil {
				return // not for us, or who waits will say that nothing came
			}
			p.mu.Lock()
			to := p.waiting[string(r.RequestID)]
			delete(p.waiting, string(r.RequestID))
			p.mu.Unlock()
			if to != nil {
				to <- r.Code
			}
		})
	}
}

// ask sends one request to a partition and waits for its result.
func (p *prober) ask(ctx context.Context, partition int) (schemas.Code, error) {
	id := fmt.Sprintf("%s-%d", p.run, p.next.Add(1))
	answer := make(chan schemas.Code, 1)
	p.mu.Lock()
	p.waiting[id] = answer
	p.mu.Unlock()
	r := schemas.Request{InstanceID: probeInstance, BizType: probeBusiness, LinkToken: p.tokens[partition], ThirdMsgID: id, Payload: "is it in force?"}
	failed := make(chan error, 1)
	p.client.Produce(ctx, &kgo.Record{
		Topic: p.topic, Partition: int32(partition), Key: []byte(r.Key()), Value: r.AppendProto(nil),
		Headers: []kgo.RecordHeader{
			{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentProtobuf)},
			{Key: schemas.HeaderReply, Value: []byte(strconv.Itoa(resultsPartition))},
			{Key: schemas.HeaderRequestID, Value: []byte(id)},
		},
	}, func(_ *kgo.Record, err error) {
		if err != nil {
			failed <- err
		}
	})
	select {
	case code := <-answer:
		return code, nil
	case err := <-failed:
		return "", fmt.Errorf("ask partition %d: %w", partition, err)
	case <-ctx.Done():
		return "", fmt.Errorf("ask partition %d: no result came: %w", partition, ctx.Err())
	}
}

// settled asks every partition, each without a pause, until its results tell
// that the config is online or offline. It gives the moment at which the last
// partition did, and how many requests that took.
func (p *prober) settled(ctx context.Context, online bool) (last time.Time, asked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range p.tokens {
		wg.Go(func() {
			at, n, e := p.settle(ctx, i, online)
			mu.Lock()
			defer mu.Unlock()
			asked, err = asked+n, errors.Join(err, e)
			if at.After(last) {
				last = at
			}
		})
	}
	wg.Wait()
	return last, asked, err
}

func (p *prober) settle(ctx context.Context, partition int, online bool) (time.Time, int, error) {
	for n := 1; ; n++ {
		code, err := p.ask(ctx, partition)
		at := time.Now()
		switch {
		case err != nil:
			return at, n, err
		case code.OK() == online:
			return at, n, nil
		case !code.OK() && code != schemas.BizNotOnline:
			return at, n, fmt.Errorf("partition %d answers %s", partition, code)
		}
	}
}

func (p *prober) close() {
	p.cancel()
	<-p.done
	p.client.Close()
}
