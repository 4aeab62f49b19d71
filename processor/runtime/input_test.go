package runtime

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAStandstillStarvesNobody: a runner that takes nothing holds more than the
// process may read ahead and less than its partition may. The others get their
// requests all the same, those that come later too, and it gets all of its own
// when it goes on.
func TestAStandstillStarvesNobody(t *testing.T) {
	w := newWorld(t, 3)
	cfg := Config{Client: w.opts(), Topology: w.topo, QueueBytesMax: 512 << 10, ReadAheadBytesMax: 16 << 10}
	cfg.setDefaults()
	in, err := newInput(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan struct{})
	go func() { defer close(ended); in.run(ctx) }()
	defer func() { cancel(); <-ended; in.client.Close() }()

	const large, late = 400, 300
	write := func(partition int32, from, n, size int) {
		for i := range n {
			w.produce(&kgo.Record{Topic: w.topo.Requests.Name, Partition: partition, Value: fmt.Appendf(nil, "%d/%s", from+i, strings.Repeat("x", size))})
		}
	}
	write(0, 0, large, 500)  // 200 KiB: over what may be read ahead, not over the queue
	write(1, 0, large, 5000) // 2 MB: over its queue too
	read := func(q *queue, want int) {
		t.Helper()
		got := 0
		for got < want {
			c, err := q.take()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range c {
				if int(r.Offset) != got {
					t.Fatalf("partition %d: offset %d after %d records", r.Partition, r.Offset, got)
				}
				got++
			}
			if c != nil {
				continue
			}
			select {
			case <-q.notify:
			case <-ctx.Done():
				t.Fatalf("partition %d: %d of %d requests came; %d bytes are read ahead", q.partition, got, want, in.queued.Load())
			}
		}
	}
	var queues [3]*queue
	for p := range queues {
		if queues[p], err = in.open(ctx, int32(p), 0); err != nil {
			t.Fatal(err)
		}
	}
	read(queues[1], large) // while 0 stands still
	write(2, 0, late, 100) // nothing was there for 2 so far
	read(queues[2], late)
	read(queues[0], large)
	if n := in.queued.Load(); n != 0 {
		t.Errorf("%d bytes are counted, and all were taken", n)
	}
	for _, q := range queues {
		q.close()
	}
	if s, h := in.starved.Load(), in.hungry.Load(); s != 0 || h != 0 {
		t.Errorf("%d queues starve and %d are hungry, of none", s, h)
	}
}
