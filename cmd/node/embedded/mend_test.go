package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// crash is what a kill -9 leaves of a running broker's directory: whatever has
// been written, and nothing of what a close would add.
func crash(t *testing.T, b *Broker) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(b.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

var oneTopic = []topology.Topic{simple("a", 1)}

func endOffset(b *Broker, topic string) int64 {
	return b.Cluster().PartitionInfo(topic, 0).HighWatermark
}

func newestFile(t *testing.T, dir, topic string) string {
	t.Helper()
	segs, err := listSegments(partitionDir(dir, topic, 0))
	if err != nil || len(segs) == 0 {
		t.Fatalf("no files of %s in %s: %v", topic, dir, err)
	}
	return segs[len(segs)-1].path
}

func TestTornFileLosesOnlyItsTail(t *testing.T) {
	b := start(t, Config{Dir: t.TempDir(), Topics: oneTopic})
	produce(t, client(t, b), "a", "1", "2", "3") // three batches
	whole, err := os.Stat(newestFile(t, b.cfg.Dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for cut := int64(0); cut <= whole.Size(); cut += 23 {
		dir := crash(t, b)
		if err := os.Truncate(newestFile(t, dir, "a"), whole.Size()-cut); err != nil {
			t.Fatal(err)
		}
		after := start(t, Config{Dir: dir, Topics: oneTopic})
		left := int((whole.Size() - cut) * 3 / whole.Size()) // batches of one size
		if got := endOffset(after, "a"); got != int64(left) {
			t.Errorf("cut by %d bytes: ends at %d, want %d", cut, got, left)
		}
		produce(t, client(t, after), "a", "new")
		want := strings.Join(append([]string{"1", "2", "3"}[:left:left], "new"), " ")
		if got := strings.Join(read(t, after, "a", left+1), " "); got != want {
			t.Errorf("cut by %d bytes: read %q, want %q", cut, got, want)
		}
		again := start(t, Config{Dir: crash(t, after), Topics: oneTopic})
		if got := strings.Join(read(t, again, "a", left+1), " "); got != want {
			t.Errorf("cut by %d bytes, after a second crash: read %q, want %q", cut, got, want)
		}
		after.Close()
		again.Close()
	}
}

func TestDamagedOrMissingFiles(t *testing.T) {
	b := start(t, Config{Dir: t.TempDir(), Topics: oneTopic})
	produce(t, client(t, b), "a", "1", "2")
	for name, harm := range map[string]func(dir, newest string) error{
		"a file begun and empty": func(dir, newest string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(newest), "2.dat"), nil, 0o644)
		},
		"a file of garbage": func(dir, newest string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(newest), "2.dat"), bytes.Repeat([]byte{7}, 300), 0o644)
		},
		"no index": func(dir, newest string) error {
			return os.Remove(strings.TrimSuffix(newest, ".dat") + ".idx")
		},
		"half an index": func(dir, newest string) error {
			return os.Truncate(strings.TrimSuffix(newest, ".dat")+".idx", 8)
		},
		"a stale snapshot": func(dir, newest string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(newest), snapshotName), []byte(`{"version":1,"high_watermark":1,"segments":[{"base_offset":0,"size":1}]}`), 0o644)
		},
		"a foreign file": func(dir, newest string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(newest), "x.dat"), []byte("x"), 0o644)
		},
		"garbage behind the producers' log": func(dir, newest string) error {
			return appendTo(filepath.Join(dir, producersName), "\x05\x00\x00\x00torn")
		},
	} {
		dir := crash(t, b)
		if err := harm(dir, newestFile(t, dir, "a")); err != nil {
			t.Fatal(err)
		}
		after := start(t, Config{Dir: dir, Topics: oneTopic})
		produce(t, client(t, after), "a", "3")
		if got := strings.Join(read(t, after, "a", 3), " "); got != "1 2 3" {
			t.Errorf("%s: read %q", name, got)
		}
		after.Close()
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func TestCommitsBehindATornTailSurvive(t *testing.T) {
	commit := func(b *Broker, at int64) {
		offsets := kadm.Offsets{}
		offsets.AddOffset("a", 0, at, -1)
		if err := kadm.NewClient(client(t, b)).CommitAllOffsets(t.Context(), "g", offsets); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, Config{Dir: t.TempDir(), Topics: oneTopic})
	commit(b, 1)
	dir := crash(t, b)
	if err := appendTo(filepath.Join(dir, groupsName), "\x40\x00\x00\x00torn entry"); err != nil {
		t.Fatal(err)
	}
	b = start(t, Config{Dir: dir, Topics: oneTopic})
	commit(b, 2)
	b = start(t, Config{Dir: crash(t, b), Topics: oneTopic})
	got, err := kadm.NewClient(client(t, b)).FetchOffsets(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := got.Lookup("a", 0); o.At != 2 {
		t.Errorf("the group is at %d, want 2", o.At)
	}
}

// retry is an idempotent producer that knows nothing of the broker's fate.
type retry struct {
	t        *testing.T
	producer int64
}

func (r *retry) send(b *Broker, sequence, records int32) (int64, error) {
	r.t.Helper()
	rb := kmsg.RecordBatch{Magic: 2, NumRecords: records, LastOffsetDelta: records - 1, ProducerID: r.producer, FirstSequence: sequence}
	for i := range records {
		rec := kmsg.Record{OffsetDelta: i, Value: []byte("v")}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		rb.Records = rec.AppendTo(rb.Records)
	}
	raw := rb.AppendTo(nil)
	seal(raw)
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "a"
	topic.Partitions = []kmsg.ProduceRequestTopicPartition{{Records: raw}}
	req.Topics = append(req.Topics, topic)
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, client(r.t, b))
	if err != nil {
		r.t.Fatal(err)
	}
	p := resp.Topics[0].Partitions[0]
	return p.BaseOffset, kerr.ErrorForCode(p.ErrorCode)
}

// TestProducersAreRememberedAfterACrash: a retry is recognized, a gap refused,
// the next batch taken, whatever the producer's and the broker's past.
func TestProducersAreRememberedAfterACrash(t *testing.T) {
	b := start(t, Config{Dir: t.TempDir(), Topics: oneTopic})
	init, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(t.Context(), client(t, b))
	if err != nil {
		t.Fatal(err)
	}
	known := retry{t, init.ProducerID}
	stranger := retry{t, 4711} // its id is from another time
	expect := func(what string, at int64, err error, want int64, wantErr error) {
		t.Helper()
		if !errors.Is(err, wantErr) || err == nil && at != want {
			t.Errorf("%s: offset %d, %v; want %d, %v", what, at, err, want, wantErr)
		}
	}
	for i, r := range []*retry{&known, &stranger} {
		at, err := r.send(b, 0, 2)
		expect("first batch", at, err, int64(i*2), nil)
	}
	for range 2 { // a clean stop must not leave anything that goes stale
		b.Close()
		b = start(t, Config{Dir: b.cfg.Dir, Topics: oneTopic})
	}
	for i, r := range []*retry{&known, &stranger} {
		at, err := r.send(b, 2, 3)
		expect("second batch", at, err, int64(4+i*3), nil)
	}
	b = start(t, Config{Dir: crash(t, b), Topics: oneTopic})
	for i, r := range []*retry{&known, &stranger} {
		at, err := r.send(b, 2, 3)
		expect("second batch again", at, err, int64(4+i*3), nil)
		at, err = r.send(b, 0, 2)
		expect("first batch again", at, err, int64(i*2), nil)
		_, err = r.send(b, 9, 1)
		expect("a gap", 0, err, 0, kerr.OutOfOrderSequenceNumber)
		at, err = r.send(b, 5, 1)
		expect("third batch", at, err, int64(10+i), nil)
	}
}

func TestOrphansAreSetAside(t *testing.T) {
	b := start(t, Config{Dir: t.TempDir(), Topics: oneTopic})
	produce(t, client(t, b), "a", "1")
	dir := crash(t, b)
	for _, name := range []string{"gone-0", "a-7"} {
		if err := os.CopyFS(filepath.Join(dir, partitionsName, name), os.DirFS(partitionDir(dir, "a", 0))); err != nil {
			t.Fatal(err)
		}
	}
	b = start(t, Config{Dir: dir, Topics: []topology.Topic{simple("a", 1), simple("gone", 1)}})
	produce(t, client(t, b), "gone", "new")
	if got := read(t, b, "gone", 1); got[0] != "new" {
		t.Errorf("the topic made anew holds %q", got)
	}
	aside, err := os.ReadDir(filepath.Join(dir, orphansName))
	if err != nil || len(aside) != 2 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}

func TestNewerDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, topicsName), []byte(`{"version":2}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{Dir: dir, Addr: "127.0.0.1:0", Logger: quiet}); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("start: %v", err)
	}
}

// TestMendedSnapshotsAreUsed: the broker takes the snapshot (which it does not
// say), or else it reads everything into memory. A start offset that only the
// snapshot knows shows it.
func TestMendedSnapshotsAreUsed(t *testing.T) {
	b := start(t, Config{Dir: t.TempDir(), Topics: oneTopic})
	produce(t, client(t, b), "a", "1", "2", "3")
	dir := crash(t, b)
	if _, err := mend(dir, quiet); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(partitionDir(dir, "a", 0), snapshotName)
	snap, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	moved := bytes.Replace(snap, []byte(`"log_start_offset":0`), []byte(`"log_start_offset":2`), 1)
	if err := os.WriteFile(at, moved, 0o644); err != nil {
		t.Fatal(err)
	}
	b = start(t, Config{Dir: dir, Topics: oneTopic})
	if info := b.Cluster().PartitionInfo("a", 0); info.LogStartOffset != 2 || info.HighWatermark != 3 {
		t.Errorf("loaded %+v", fmt.Sprintf("%+v", info))
	}
}
