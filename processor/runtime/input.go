package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
)

// Limits of a fetch. Small enough that what a few fetches hold is little, large
// enough that a partition's share keeps its runner busy until the next.
const (
	fetchBytesMax          = 2 << 20
	fetchPartitionBytesMax = 256 << 10
	// fetchWaitMax is how long a partition that was paused may wait for others'
	// fetch to return.
	fetchWaitMax = 500 * time.Millisecond
	// starvedWait is how long a runner without work may wait for others' queues
	// to get shorter, when nothing is known to be there for it.
	starvedWait = 20 * time.Millisecond
)

// input reads the requests topic for all runners of the process.
type input struct {
	client *kgo.Client
	topic  string
	log    *slog.Logger
	max    int // bytes a queue may hold before its partition is paused
	ahead  int // bytes that the queues which are not paused may hold together

	// queued is what those queues hold. Runners take it down; room says that
	// they did, or that one found nothing.
	queued  atomic.Int64
	starved atomic.Int32  // queues whose runner found nothing
	hungry  atomic.Int32  // of them those with more to fetch, as far as is known
	room    chan struct{} // one slot

	mu     sync.Mutex
	queues map[int32]*queue
	known  map[int32]bool     // partitions that were read before
	poll   context.CancelFunc // ends the poll under way
	turned chan struct{}      // closed and replaced when what a poll gave is handed out
}

// queue holds the requests of one partition that were read and not yet taken.
type queue struct {
	in        *input
	partition int32

	mu     sync.Mutex
	chunks [][]*kgo.Record
	bytes  int
	paused bool
	ended  bool  // nobody takes from it any more
	empty  bool  // the runner found nothing
	hungry bool  // and there is more to fetch
	next   int64 // offset behind the last record that was added
	high   int64 // the topic's high watermark, as of the last fetch
	err    error // the partition cannot be read on

	notify chan struct{} // one slot: something is there
}

func newInput(cfg *Config) (*input, error) {
	client, err := kgo.NewClient(append(cfg.clientOpts("processor-input"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytesMax),
		kgo.FetchMaxPartitionBytes(fetchPartitionBytesMax),
		kgo.FetchMaxWait(fetchWaitMax),
	)...)
	if err != nil {
		return nil, fmt.Errorf("open requests consumer: %w", err)
	}
	return &input{client: client, topic: cfg.Topology.Requests.Name, log: cfg.Log, max: cfg.QueueBytesMax,
		ahead: cfg.ReadAheadBytesMax, room: make(chan struct{}, 1),
		queues: make(map[int32]*queue), known: make(map[int32]bool), poll: func() {}, turned: make(chan struct{})}, nil
}

// run polls until the context ends. It polls only when there is room: what the
// client holds meanwhile is one fetch. Pausing is for a partition that stands
// still, so that the others do not wait for it: what was fetched for a paused
// partition is thrown away and fetched again, and a partition that is resumed
// waits for the fetch under way, so it is no way to keep the pace.
func (in *input) run(ctx context.Context) {
	for ctx.Err() == nil {
		poll, cancel := context.WithCancel(ctx)
		in.mu.Lock()
		in.poll = cancel
		in.mu.Unlock()
		in.waitRoom(poll)
		fetches := in.client.PollFetches(poll)
		cancel()
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if q := in.queue(p.Partition); q != nil {
				q.add(p.Records, p.HighWatermark, p.Err)
			}
		})
		in.mu.Lock()
		close(in.turned)
		in.turned = make(chan struct{})
		in.mu.Unlock()
	}
}

// waitRoom waits until the queues are short enough to read on. What a runner
// that stands still has not taken must not keep another waiting: as long as one
// has nothing to do, reading goes on, until the former's partition is at its
// own bound and paused. (A standby stands still when its owner does, and that
// one's process may have a standby of ours.)
func (in *input) waitRoom(ctx context.Context) {
	for in.queued.Load() > int64(in.ahead) && in.hungry.Load() == 0 {
		var enough <-chan time.Time
		if in.starved.Load() > 0 {
			enough = time.After(starvedWait)
		}
		select {
		case <-in.room:
		case <-enough:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (in *input) queue(p int32) *queue {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.queues[p]
}

// open starts reading a partition at the offset. For a partition that was read
// before it waits until nothing of that reading can come any more: the task
// allows holes, so records from further on would pass for what comes next.
func (in *input) open(ctx context.Context, partition int32, offset int64) (*queue, error) {
	in.mu.Lock()
	if in.known[partition] {
		in.drop(partition)
		turned := in.turned
		in.poll()
		in.mu.Unlock()
		select {
		case <-turned:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		in.mu.Lock()
	}
	defer in.mu.Unlock()
	q := &queue{in: in, partition: partition, notify: make(chan struct{}, 1)}
	in.queues[partition], in.known[partition] = q, true
	in.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{in.topic: {partition: kgo.NewOffset().At(offset)}})
	return q, nil
}

// close stops reading the partition, unless a later queue reads it by now.
func (q *queue) close() {
	in := q.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.queues[q.partition] == q {
		in.drop(q.partition)
	}
}

// drop stops reading a partition. The caller holds the lock.
func (in *input) drop(partition int32) {
	if q := in.queues[partition]; q != nil {
		q.end()
	}
	delete(in.queues, partition)
	in.forget(partition)
}

func (in *input) forget(partition int32) {
	parts := map[string][]int32{in.topic: {partition}}
	in.client.RemoveConsumePartitions(parts)
	in.client.ResumeFetchPartitions(parts)
}

func (q *queue) add(records []*kgo.Record, high int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.high = max(q.high, high)
	if len(records) > 0 && !q.ended {
		q.chunks = append(q.chunks, records)
		q.next = records[len(records)-1].Offset + 1
		q.grow(size(records))
		q.starve(false)
	}
	if err != nil && permanent(err) {
		q.err = err
	}
	if q.bytes > q.in.max && !q.paused {
		q.in.grow(-q.bytes)
		q.paused = true
		q.in.client.PauseFetchPartitions(map[string][]int32{q.in.topic: {q.partition}})
	}
	wake(q.notify)
}

// take removes the oldest chunk; an error comes once all before it is taken.
func (q *queue) take() ([]*kgo.Record, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.chunks) == 0 {
		q.starve(true)
		return nil, q.err
	}
	c := q.chunks[0]
	q.chunks[0] = nil
	q.chunks = q.chunks[1:]
	q.grow(-size(c))
	if q.paused && q.bytes <= q.in.max/2 {
		q.paused = false
		q.in.grow(q.bytes)
		q.in.client.ResumeFetchPartitions(map[string][]int32{q.in.topic: {q.partition}})
	}
	return c, nil
}

// grow keeps count of what the queue holds. The caller holds the lock.
func (q *queue) grow(n int) {
	q.bytes += n
	if !q.paused && !q.ended {
		q.in.grow(n)
	}
}

func (in *input) grow(n int) {
	if in.queued.Add(int64(n)) <= int64(in.ahead) && n < 0 {
		wake(in.room)
	}
}

// end takes the queue out of the count.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.grow(-q.bytes)
	q.starve(false)
	q.chunks, q.ended = nil, true
}

// starve notes whether the queue's runner found nothing. The caller holds the
// lock.
func (q *queue) starve(empty bool) {
	empty = empty && !q.ended
	hungry := empty && !q.paused && q.high > q.next
	if empty != q.empty {
		q.in.starved.Add(sign(empty))
	}
	if hungry != q.hungry {
		q.in.hungry.Add(sign(hungry))
	}
	if empty && !q.empty {
		wake(q.in.room)
	}
	q.empty, q.hungry = empty, hungry
}

func sign(more bool) int32 {
	if more {
		return 1
	}
	return -1
}

// lag is how many requests behind decided the topic holds; -1 before the first
// fetch.
func (q *queue) lag(decided int64) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.high == 0 {
		return -1
	}
	return max(0, q.high-decided-1)
}

func size(records []*kgo.Record) int {
	n := 0
	for _, r := range records {
		n += len(r.Value) + len(r.Key) + 100 // headers and the struct
	}
	return n
}

// wake sets a one-slot signal.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// permanent reports that reading again will not help: an operator has to look.
// Everything else kgo retries by itself.
func permanent(err error) bool {
	var lost *kgo.ErrDataLoss
	return errors.As(err, &lost) ||
		errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicID) ||
		errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.CorruptMessage)
}

// record turns a Kafka record into a task's input.
func record(r *kgo.Record, to *processor.Record) {
	*to = processor.Record{Offset: r.Offset, Value: r.Value}
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Key {
		case schemas.HeaderContentType:
			to.ContentType = string(h.Value)
		case schemas.HeaderControl:
			to.Control = true
		case schemas.HeaderReply:
			to.Reply = string(h.Value)
		case schemas.HeaderRequestID:
			to.RequestID = h.Value
		}
	}
}

func (c *Config) clientOpts(name string) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.ClientID("tidemark-" + name),
		kgo.WithLogger(kgoLog{c.Log}),
	}, c.Client...)
}

// kgoLog passes on what the client reports. Its warnings are the routine of a
// system that retries by itself.
type kgoLog struct{ log *slog.Logger }

func (kgoLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l kgoLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	if level == kgo.LogLevelError {
		at = slog.LevelWarn
	}
	l.log.Log(context.Background(), at, "kafka client: "+msg, keyvals...)
}
