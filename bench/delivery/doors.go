package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// Doors that load goes through.
const (
	kafkaDoor = "Kafka"
	httpDoor  = "HTTP"
)

// requestBytes is the size of an encoded request.
const requestBytes = 256

// callsMax is how many HTTP calls may be under way; past it calls wait, and
// their wait counts.
const callsMax = 1024

// callLimit is how long a call may take.
const callLimit = 30 * time.Second

// load makes requests and sends them.
type load struct {
	clients int
	url     string
	topic   string
	kafka   *kgo.Client
	http    *http.Client
}

func newLoad(n *node, clients int) (*load, error) {
	topo, err := topology.New(topology.Config{})
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(n.brokers...), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, fmt.Errorf("connect a producer: %w", err)
	}
	return &load{
		clients: clients, url: n.url + "/webapi/sync/single?instanceId=" + instanceID, topic: topo.Requests.Name, kafka: client,
		http: &http.Client{Timeout: callLimit, Transport: &http.Transport{MaxIdleConnsPerHost: callsMax}},
	}, nil
}

func (l *load) close() {
	l.kafka.Close()
	l.http.CloseIdleConnections()
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// request makes the i-th of a phase.
func (l *load) request(rng *rand.Rand, p *phase, i int) *schemas.Request {
	r := &schemas.Request{
		InstanceID: instanceID, BizType: bizType(rng.IntN(businesses)), LinkToken: userName(rng.IntN(l.clients)), ThirdMsgID: messageID(p.index, i),
	}
	payload := make([]byte, requestBytes-len(r.AppendProto(nil))-3) // its tag and a length of two bytes
	for j := range payload {
		payload[j] = alphabet[rng.IntN(len(alphabet))]
	}
	r.Payload = string(payload)
	return r
}

// offer sends a phase through its door and returns when all were acknowledged
// or answered.
func (l *load) offer(ctx context.Context, p *phase) (late time.Duration, err error) {
	var failed firstError
	var wg sync.WaitGroup
	places := make(chan struct{}, callsMax)
	rng := rand.New(rand.NewPCG(1, uint64(p.index)))
	late, err = p.clock.Run(ctx, p.count, func(i int) func() {
		r := l.request(rng, p, i)
		if p.door == kafkaDoor {
			rec := &kgo.Record{Topic: l.topic, Key: []byte(r.Key()), Value: r.AppendProto(nil),
				Headers: []kgo.RecordHeader{{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentProtobuf)}}}
			return func() { l.kafka.Produce(ctx, rec, func(_ *kgo.Record, err error) { failed.set(err) }) }
		}
		return func() {
			wg.Go(func() {
				places <- struct{}{}
				err := l.call(ctx, r)
				<-places
				failed.set(err)
				p.answers.Record(time.Since(p.clock.Due(i)))
			})
		}
	})
	wg.Wait()
	if p.door == kafkaDoor {
		err = errors.Join(err, l.kafka.Flush(ctx))
	}
	return late, errors.Join(err, failed.get())
}

// call posts a request and reads its answer, which must be SUCCESS.
func (l *load) call(ctx context.Context, r *schemas.Request) error {
	body, err := json.Marshal(map[string]string{"bizType": r.BizType, "linkToken": r.LinkToken, "thirdMsgId": r.ThirdMsgID, "payload": r.Payload})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := l.http.Do(req)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	var answer struct {
		Success bool
		Msg     string
	}
	if err := json.Unmarshal(text, &answer); err != nil || !answer.Success || answer.Msg != string(schemas.Success) {
		return fmt.Errorf("call of %s was answered %s: %s", r.ThirdMsgID, res.Status, text)
	}
	return nil
}

// firstError keeps the first error it is given.
type firstError struct {
	mu  sync.Mutex
	err error
}

func (f *firstError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
