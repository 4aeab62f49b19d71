package embedded

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestTrimKeepsTheNewestFile(t *testing.T) {
	topics := []topology.Topic{
		{Name: "short", Partitions: 1, Retention: time.Hour, Cleanup: topology.Delete},
		{Name: "kept", Partitions: 1, Cleanup: topology.Compact},
	}
	b := start(t, Config{Dir: t.TempDir(), Topics: topics})
	c := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	block := strings.Repeat("x", 600<<10) // two fill a file of a short-lived topic
	for range 7 {
		produce(t, c, "short", block)
		produce(t, c, "kept", block)
	}
	files := func(topic string) []segment {
		segs, err := listSegments(partitionDir(b.cfg.Dir, topic, 0))
		if err != nil {
			t.Fatal(err)
		}
		return segs
	}
	age := func(topic string, n int) { // makes the first n files old
		for _, s := range files(topic)[:n] {
			old := time.Now().Add(-2 * time.Hour)
			if err := os.Chtimes(s.path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect := func(topic string, start, end int64, count int) {
		t.Helper()
		if err := b.trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		info := b.Cluster().PartitionInfo(topic, 0)
		if info.LogStartOffset != start || info.HighWatermark != end || len(files(topic)) != count {
			t.Errorf("%s: offsets %d to %d in %d files, want %d to %d in %d", topic, info.LogStartOffset, info.HighWatermark, len(files(topic)), start, end, count)
		}
	}
	expect("short", 0, 7, 4)
	age("short", 2)
	age("kept", 1)
	expect("short", 4, 7, 2)
	expect("kept", 0, 7, 1)
	age("short", 2)
	expect("short", 6, 7, 1) // all are old, the newest stays

	// A crash forgets the start, which brings nothing back, and not the end.
	b = start(t, Config{Dir: crash(t, b), Topics: topics})
	expect("short", 6, 7, 1)
	produce(t, client(t, b), "short", "new")
	if got := read(t, b, "short", 2); got[1] != "new" {
		t.Errorf("read %.20q", got[1])
	}
	expect("short", 6, 8, 1)
}

func TestExpiredNeverNamesAnEmptyFile(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for base, size := range map[int]int{0: 1, 10: 1, 20: 0} {
		name := fmt.Sprintf("%s/%d.dat", dir, base)
		if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := expired(segs, time.Now()); got != 10 {
		t.Errorf("start %d, want 10", got)
	}
	if got := expired(segs, old.Add(-time.Minute)); got != -1 {
		t.Errorf("nothing is old, but the start is %d", got)
	}
	if got := expired(nil, time.Now()); got != -1 {
		t.Errorf("no files, but the start is %d", got)
	}
}

func TestSizeWarningsComeAtEachDoubling(t *testing.T) {
	warned := map[string]int64{}
	var said []int64
	for n := int64(1); n <= 1000; n++ {
		if past(warned, "t", n, 100) {
			said = append(said, n)
		}
	}
	if fmt.Sprint(said) != "[100 200 400 800]" {
		t.Errorf("warned at %v", said)
	}
}

func TestLogIsRateLimited(t *testing.T) {
	var out bytes.Buffer
	l := &logger{to: textLogger(&out)}
	for range 1000 {
		l.Logf(2, "disk full")
		l.Logf(4, "chatter")
	}
	if n := strings.Count(out.String(), "\n"); n != logBurst {
		t.Errorf("%d lines", n)
	}
	l.since = l.since.Add(-time.Minute)
	l.Logf(1, "again")
	if !strings.Contains(out.String(), "linesLeftOut=980") {
		t.Errorf("the next line does not count those left out: %s", out.String()[out.Len()-200:])
	}
}
