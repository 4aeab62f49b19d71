package registry

import (
	"bytes"
	"fmt"
	"testing"
)

func commandsFor(configs, perCommand int) []Command {
	all := []Command{{ID: "instance", Ops: []Op{CreateInstance{ID: "demo_APP1"}}}}
	for i := range configs {
		if i%perCommand == 0 {
			all = append(all, Command{ID: fmt.Sprint("c", i), Actor: "ann", Time: 1})
		}
		c := &all[len(all)-1]
		c.Ops = append(c.Ops, CreateSync{Sync{
			InstanceID: "demo_APP1", BizType: fmt.Sprintf("BIZ-%05d", i), Scope: "specified", Target: "user",
			MultiDevice: true, Persistent: true, Online: true, Description: "one of many",
		}})
	}
	return all
}

// BenchmarkLoad applies commands that make 10,000 configs in one instance.
func BenchmarkLoad(b *testing.B) {
	for _, per := range []int{1, MaxCommandOps} {
		b.Run(fmt.Sprintf("perCommand=%d", per), func(b *testing.B) {
			var encoded [][]byte
			for _, c := range commandsFor(10_000, per) {
				e, err := c.Append(nil)
				if err != nil {
					b.Fatal(err)
				}
				encoded = append(encoded, e)
			}
			for b.Loop() {
				m := created(b)
				for _, e := range encoded {
					c, err := DecodeCommand(e)
					if err != nil {
						b.Fatal(err)
					}
					m, _ = m.Apply(c)
				}
				if per > 1 && m.SyncCount() != 10_000 {
					b.Fatal(m.SyncCount())
				}
			}
		})
	}
}

// BenchmarkSnapshot writes and reads a registry of 10,000 configs and 100,000
// audit records.
func BenchmarkSnapshot(b *testing.B) {
	m := created(b)
	for _, c := range commandsFor(10_000, MaxCommandOps) {
		m, _ = m.Apply(c)
	}
	for i := range 90_000 {
		m, _ = m.Apply(Command{ID: fmt.Sprint("s", i), Actor: "ann", Source: "192.0.2.1", Time: int64(i), Ops: []Op{SetSignature{i%2 == 0}}})
	}
	var buf bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			buf.Reset()
			if err := m.Snapshot(&buf); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(buf.Len()), "bytes")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := Restore(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("audit", func(b *testing.B) {
		for b.Loop() {
			m.Audit(AuditFilter{Actor: "bob"}) // none: walks all
		}
	})
}
