package registry

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzDecodeCommand(f *testing.F) {
	c := Command{ID: "1", Actor: "ann", Ops: []Op{CreateInstance{ID: "a"}, CreateSync{Sync{InstanceID: "a", BizType: "A", Scope: "specified", Target: "user"}}}}
	b, err := c.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for name := range kinds {
		f.Add([]byte("\x01" + `{"id":"1","ops":[{"kind":"` + name + `","op":{}}]}`))
	}
	f.Add([]byte("\x01" + `{"id":"1","ops":[{"kind":"restoreChunk","op":{"id":"r","data":"H4sI","last":true}}]}`))
	m := created(f)
	m, _ = m.Apply(c)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		next, r := m.Apply(c)
		if next.Applied() != m.Applied()+1 || (r.Refused != nil && next.Revision() != m.Revision()) {
			t.Errorf("%+v: from revision %d to %d", r, m.Revision(), next.Revision())
		}
		if r.Refused == nil {
			restored(t, next)
		}
	})
}

func FuzzRestore(f *testing.F) {
	m := created(f)
	m, _ = m.Apply(Command{ID: "1", Ops: []Op{CreateInstance{ID: "a"}, CreateSync{Sync{InstanceID: "a", BizType: "A", Scope: "specified", Target: "user"}}, SetSignature{true}}})
	f.Add(text(f, m))
	f.Add(strings.Replace(text(f, m), `"auditFirst":0`, `"auditFirst":1152921504606846976`, 1))
	f.Fuzz(func(t *testing.T, s string) {
		m, err := readLines(strings.NewReader(s))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := m.writeLines(&b); err != nil {
			t.Fatal(err)
		}
		again, err := readLines(&b)
		if err != nil {
			t.Fatalf("what was restored cannot be restored again: %v", err)
		}
		if text(t, again) != text(t, m) {
			t.Error("a second restore gives another model")
		}
	})
}
