package view

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

// cpu reports the processor time of the whole process (compactions included)
// per operation: the clock on the wall also measures who else is busy.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	before := used()
	b.ResetTimer()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// settle waits until nothing is left to compact, so that reads are measured
// alone.
func settle(b *testing.B, v *View) {
	if err := v.Flush(); err != nil {
		b.Fatal(err)
	}
	for quiet := 0; quiet < 20; quiet++ {
		if m := v.db.Pebble().Metrics(); m.Compact.NumInProgress > 0 {
			quiet = 0
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// BenchmarkApply is the cost of an entry on its way into the view: reader's
// rule, batch, commit. 256 bytes of payload, 20,000 targets, 500 to a fetch.
func BenchmarkApply(b *testing.B) {
	for _, newest := range []int64{0, 100} {
		b.Run(fmt.Sprint("newest=", newest), func(b *testing.B) {
			cfg := testConfig(b, shared(b), vfs.Default)
			cfg.Dir = b.TempDir()
			cfg.Newest = func(string, string) int64 { return newest }
			v := open(b, cfg)
			defer v.Close()
			log := newOplog()
			payload := strings.Repeat("x", 256)
			for i := range b.N {
				log.push(schemas.Entry{InstanceID: "demo_APP1", LinkToken: fmt.Sprint("user", i*7919%20000), BizType: "UCHAT",
					ThirdMsgID: fmt.Sprint("m", i), Payload: payload, ValidTimeEnd: 1 << 50}, 1_700_000_000_000)
			}
			b.ReportAllocs()
			defer cpu(b)()
			for rest := log.records; len(rest) > 0; {
				n := min(500, len(rest))
				if _, err := v.Apply(rest[:n], nil); err != nil {
					b.Fatal(err)
				}
				rest = rest[n:]
			}
		})
	}
}

// BenchmarkApplyAcks is the cost of a sync point.
func BenchmarkApplyAcks(b *testing.B) {
	cfg := testConfig(b, shared(b), vfs.Default)
	cfg.Dir = b.TempDir()
	v := open(b, cfg)
	defer v.Close()
	var acks []Record
	for i := range b.N {
		a := schemas.Ack{InstanceID: "demo_APP1", Target: fmt.Sprint("user", i*7919%20000), BizType: "UCHAT", DeviceID: "d",
			To: int64(i/20000 + 1), Entries: 1, Time: 1_700_000_000_000}
		acks = append(acks, Record{Offset: int64(i), Value: a.Append(nil)})
	}
	b.ReportAllocs()
	defer cpu(b)()
	for rest := acks; len(rest) > 0; {
		n := min(500, len(rest))
		if _, err := v.Apply(nil, rest[:n]); err != nil {
			b.Fatal(err)
		}
		rest = rest[n:]
	}
}

// BenchmarkRead is the cost of what a session asks at its start and when it is
// behind: 10 entries after a point, of one log among 20,000 with 50 each.
func BenchmarkRead(b *testing.B) {
	cfg := testConfig(b, shared(b), vfs.Default)
	cfg.Dir = b.TempDir()
	v := open(b, cfg)
	defer v.Close()
	log := newOplog()
	token := func(i int) string { return fmt.Sprint("user", i*7919%20000) }
	for i := range 1_000_000 {
		log.push(schemas.Entry{InstanceID: "demo_APP1", LinkToken: token(i), BizType: "UCHAT", Payload: strings.Repeat("x", 64), ValidTimeEnd: 1 << 50}, 1_700_000_000_000)
		if len(log.records) == 1000 {
			if _, err := v.Apply(log.records, nil); err != nil {
				b.Fatal(err)
			}
			log.records = log.records[:0]
		}
	}
	settle(b, v)
	b.Run("ten", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for i := range b.N {
			n := 0
			if err := v.Read(Log{"demo_APP1", token(i), "UCHAT"}, 40, 50, func(*schemas.Entry, []byte) bool { n++; return true }); err != nil || n != 10 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for i := range b.N {
			if h, err := v.Head(Log{"demo_APP1", token(i), "UCHAT"}); err != nil || h != 50 {
				b.Fatal(h, err)
			}
		}
	})
	b.Run("floor of 20", func(b *testing.B) {
		defer cpu(b)()
		for i := range b.N {
			if f, err := v.Floor(Log{"demo_APP1", token(i), "UCHAT"}, 20); err != nil || f != 30 {
				b.Fatal(f, err)
			}
		}
	})
	b.Run("stats", func(b *testing.B) {
		defer cpu(b)()
		for i := range b.N {
			if s, err := v.Stats("demo_APP1", token(i), 1_700_000_000_000); err != nil || s["UCHAT"].Pushes != 50 {
				b.Fatal(s, err)
			}
		}
	})
}

// BenchmarkStatsFull is the largest answer that statistics can have to give: a
// target with an entry in every hour of 30 days in 20 businesses.
func BenchmarkStatsFull(b *testing.B) {
	cfg := testConfig(b, shared(b), vfs.Default)
	cfg.Dir = b.TempDir()
	v := open(b, cfg)
	defer v.Close()
	log := newOplog()
	const now = 1_700_000_000_000
	for hour := range int64(720) {
		for biz := range 20 {
			log.push(schemas.Entry{InstanceID: "demo_APP1", LinkToken: "u", BizType: fmt.Sprint("BIZ", biz), Payload: "x", ValidTimeEnd: 1 << 50}, now-hour*hourMillis)
		}
	}
	if _, err := v.Apply(log.records, nil); err != nil {
		b.Fatal(err)
	}
	defer cpu(b)()
	for range b.N {
		if s, err := v.Stats("demo_APP1", "u", now); err != nil || s["BIZ7"].Pushes != 720 {
			b.Fatal(s, err)
		}
	}
}
