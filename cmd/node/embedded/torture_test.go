package embedded

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	tortureRounds = flag.Int("torture", 20, "how often to kill the broker")
	tortureSync   = flag.Bool("torture.fsync", false, "with synced writes")
)

const (
	childDir  = "TIDEMARK_EMBEDDED_TEST_DIR"
	childAddr = "TIDEMARK_EMBEDDED_TEST_ADDR"
	childSync = "TIDEMARK_EMBEDDED_TEST_SYNC"

	tortureTopic      = "t"
	torturePartitions = 4
	tortureProducers  = 3
	tortureGroup      = "g"
)

// TestMain runs a broker instead of the tests where the torture asks for one.
func TestMain(m *testing.M) {
	flag.Parse()
	if dir := os.Getenv(childDir); dir != "" {
		if err := childMain(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childMain serves until its standard input ends, which it does with the
// parent.
func childMain(dir string) error {
	b, err := Start(Config{
		Dir: dir, Addr: os.Getenv(childAddr), SyncWrites: os.Getenv(childSync) != "",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Topics: []topology.Topic{{Name: tortureTopic, Partitions: torturePartitions, Retention: time.Hour}},
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return b.Close()
}

// child is a broker in a process of its own.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

func startChild(t *testing.T, dir, addr string) *child {
	t.Helper()
	c, out := spawn(t, dir, addr)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		_ = c.cmd.Process.Kill()
		t.Fatalf("the broker's process said %q: %v", line, err)
	}
	return c
}

// spawn starts the process and does not wait for the broker in it.
func spawn(t *testing.T, dir, addr string) (*child, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childAddr+"="+addr)
	if *tortureSync {
		cmd.Env = append(cmd.Env, childSync+"=1")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{cmd, in}, out
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait()
}

// stop ends it in good order.
func (c *child) stop(t *testing.T) {
	t.Helper()
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the broker's process ended with %v", err)
	}
}

// ledger is what the broker has promised.
type ledger struct {
	mu        sync.Mutex
	acked     [torturePartitions]map[int64]mark // by offset
	end       [torturePartitions]int64
	committed [torturePartitions]int64
	failed    error
}

// mark is a record's value: who wrote it, and the how manieth in its partition.
type mark struct {
	producer uint32
	n        uint32
}

func (m mark) bytes() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(make([]byte, 0, 256), m.producer), m.n)[:256]
}

func markOf(b []byte) mark {
	return mark{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func (l *ledger) promise(r *kgo.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.failed == nil && !strings.Contains(err.Error(), "closed") {
			l.failed = err
		}
		return
	}
	l.acked[r.Partition][r.Offset] = markOf(r.Value)
	l.end[r.Partition] = max(l.end[r.Partition], r.Offset+1)
}

// TestKillNine kills the broker's process at random moments while idempotent
// producers write and a group commits. Nothing that was acknowledged is lost,
// moved, doubled or reordered; no offset goes back; and the producers never
// notice more than a broken connection.
func TestKillNine(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	broker := startChild(t, dir, addr)
	l := &ledger{}
	for p := range l.acked {
		l.acked[p] = make(map[int64]mark)
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for i := range tortureProducers {
		load.Go(func() { l.produce(ctx, t, addr, uint32(i)) })
	}
	load.Go(func() { l.commit(ctx, t, addr) })

	for round := range *tortureRounds {
		pause(t, time.Duration(20+rand.IntN(400))*time.Millisecond)
		broker.kill(t)
		if round%3 == 2 { // and while it mends what the kill has left
			c, _ := spawn(t, dir, addr)
			pause(t, time.Duration(rand.IntN(60))*time.Millisecond)
			c.kill(t)
		}
		broker = startChild(t, dir, addr)
		if round%4 == 3 { // a clean stop between, for what it leaves behind
			broker.stop(t)
			broker = startChild(t, dir, addr)
		}
		l.check(t, addr)
	}
	pause(t, 100*time.Millisecond)
	stop()
	load.Wait()
	l.audit(t, addr)
	broker.stop(t)
}

// pause is how long the load runs before the next kill; no test depends on it.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func outside(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
		kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (l *ledger) produce(ctx context.Context, t *testing.T, addr string, id uint32) {
	c := outside(t, addr, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(500),
		kgo.ProducerBatchCompression([][]kgo.CompressionCodec{{kgo.NoCompression()}, {kgo.ZstdCompression()}, {kgo.SnappyCompression()}}[id%3]...))
	defer c.Close()
	for n := uint32(0); ctx.Err() == nil; n++ {
		for p := range int32(torturePartitions) {
			c.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: tortureTopic, Partition: p, Value: mark{id, n}.bytes()}, l.promise)
		}
		if n%50 == 0 {
			pause(t, time.Millisecond)
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	if err := c.Flush(flush); err != nil {
		l.promise(nil, fmt.Errorf("flush: %w", err))
	}
}

// commit moves the group's offsets on, one by one.
func (l *ledger) commit(ctx context.Context, t *testing.T, addr string) {
	c := outside(t, addr)
	defer c.Close()
	adm := kadm.NewClient(c)
	for n := int64(1); ctx.Err() == nil; n++ {
		offsets := kadm.Offsets{}
		for p := range int32(torturePartitions) {
			offsets.AddOffset(tortureTopic, p, n, -1)
		}
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := adm.CommitAllOffsets(once, tortureGroup, offsets)
		cancel()
		if err != nil {
			continue // not acknowledged
		}
		l.mu.Lock()
		for p := range l.committed {
			l.committed[p] = n
		}
		l.mu.Unlock()
	}
}

// check compares the ends of the log and of the group with what was promised
// before.
func (l *ledger) check(t *testing.T, addr string) {
	t.Helper()
	l.mu.Lock()
	end, committed := l.end, l.committed
	l.mu.Unlock()
	c := outside(t, addr)
	defer c.Close()
	adm := kadm.NewClient(c)
	ends, err := adm.ListEndOffsets(t.Context(), tortureTopic)
	if err != nil {
		t.Fatal(err)
	}
	fetched, err := adm.FetchOffsets(t.Context(), tortureGroup)
	if err != nil && !strings.Contains(err.Error(), "GROUP_ID_NOT_FOUND") {
		t.Fatal(err)
	}
	for p := range int32(torturePartitions) {
		if o, _ := ends.Lookup(tortureTopic, p); o.Offset < end[p] {
			t.Errorf("partition %d ends at %d after the kill, %d was acknowledged", p, o.Offset, end[p])
		}
		if o, _ := fetched.Lookup(tortureTopic, p); o.At < committed[p] {
			t.Errorf("partition %d: the group is at %d after the kill, %d was acknowledged", p, o.At, committed[p])
		}
	}
}

// audit reads everything back.
func (l *ledger) audit(t *testing.T, addr string) {
	t.Helper()
	if l.failed != nil {
		t.Errorf("a producer was told of a failure: %v", l.failed)
	}
	c := outside(t, addr, kgo.ConsumeTopics(tortureTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), tortureTopic)
	if err != nil {
		t.Fatal(err)
	}
	var (
		at   [torturePartitions]int64
		next [torturePartitions][tortureProducers]uint32
		left int64
	)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	total := left
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("with %d of %d records to go: %v", left, total, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			p, m := r.Partition, markOf(r.Value)
			if r.Offset != at[p] {
				t.Errorf("partition %d: offset %d comes after %d", p, r.Offset, at[p]-1)
			}
			at[p] = r.Offset + 1
			if want, ok := l.acked[p][r.Offset]; ok && want != m {
				t.Errorf("partition %d offset %d: acknowledged was %+v, read %+v", p, r.Offset, want, m)
			}
			delete(l.acked[p], r.Offset)
			if want := next[p][m.producer]; m.n != want {
				t.Errorf("partition %d offset %d: record %d of producer %d, expected %d", p, r.Offset, m.n, m.producer, want)
			}
			next[p][m.producer] = m.n + 1
		})
		if t.Failed() {
			return
		}
	}
	for p := range l.acked {
		if n := len(l.acked[p]); n > 0 {
			t.Errorf("partition %d: %d acknowledged records are gone", p, n)
		}
	}
	t.Logf("%d records, group at %d", total, l.committed[0])
}
