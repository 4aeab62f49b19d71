package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// redeliver plans and does it, and gives the plan as "device from>to".
func (h *house) redeliver(r Redelivery) string {
	h.t.Helper()
	r.InstanceID = instance
	plan, err := h.server.PlanRewinds(&r)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.server.Rewind(h.t.Context(), plan); err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, p := range plan {
		all = append(all, fmt.Sprintf("%s %d>%d", p.DeviceID, p.From, p.To))
	}
	return strings.Join(all, ", ")
}

// again waits for an event that covers (from, to] with those entries, and gives
// its rewind and its cursor.
func (s *stream) again(span string, payloads ...string) (rewind int64, cursor string) {
	s.t.Helper()
	e := s.next()
	var got struct {
		From, To, Rewind int64
		Op               []struct{ PL string }
	}
	if err := json.Unmarshal([]byte(e.data), &got); err != nil {
		s.t.Fatalf("%q: %v", e.data, err)
	}
	text := ""
	for _, op := range got.Op {
		text += op.PL
	}
	if at := fmt.Sprintf("(%d,%d]", got.From, got.To); at != span || text != strings.Join(payloads, "") {
		s.t.Fatalf("%s, want %s %q", e.data, span, payloads)
	}
	return got.Rewind, e.id
}

// wantPoint waits until an edge has a device's point so.
func (h *house) wantPoint(biz, user, device string, want view.SyncPoint) {
	h.t.Helper()
	eventually(h.t, "point of "+device, func() error {
		at, _, err := h.server.partitionOf(user).view.SyncPoint(viewLog(biz, user), device)
		if err != nil || at != want {
			return fmt.Errorf("%d, %w, want %d", at, err, want)
		}
		return nil
	})
}

// TestRedelivery: a point that is moved back at one edge makes entries come
// again at another, at once; what was said before does not undo it; and it
// outlives edges and their views.
func TestRedelivery(t *testing.T) {
	a := newHouse(t, nil)
	b := a.beside("b")
	a.task.push(text("A", "u1", "one"), text("A", "u1", "two"), text("A", "u1", "three"))
	s := b.dial("deviceId=d1 userId=u1 biz=A")
	none, before := s.again("(0,3]", "one", "two", "three")
	b.ack("d1", "u1", "A", 3)
	a.wantPoint("A", "u1", "d1", view.SyncPoint{To: 3})
	if did := a.redeliver(Redelivery{BizType: "A", Target: "u1", After: 1}); did != "d1 3>1" {
		t.Errorf("planned %q", did)
	}
	first, _ := s.again("(1,3]", "two", "three")
	if none != 0 || first == 0 {
		t.Errorf("rewinds %d and then %d", none, first)
	}
	ack := func(h *house, to, rewind int64) {
		t.Helper()
		body := fmt.Sprintf(`{"instanceId":%q,"deviceId":"d1","userId":"u1","bizType":"A","to":%d,"rewind":%d}`, instance, to, rewind)
		if code, answer := h.post(body, clientKey); code != http.StatusOK {
			t.Fatalf("ack %s: %d %s", body, code, answer)
		}
	}
	ack(a, 3, 1) // from before, through either edge
	ack(b, 3, 1)
	ack(b, 2, first)
	a.wantPoint("A", "u1", "d1", view.SyncPoint{To: 2, Rewind: first})
	// An edge that did not know of the rewind when it wrote the acknowledgement.
	read := func() int64 { return a.server.partitionOf("u1").view.Position().Acks }
	last := read()
	b.server.acks.send(&session.Point{Source: session.Source{InstanceID: instance, BizType: "A", Target: "u1", DeviceID: "d1"}, To: 3}, nil)
	eventually(t, "it is read", func() error {
		if at := read(); at <= last {
			return fmt.Errorf("read up to %d", at)
		}
		return nil
	})
	a.wantPoint("A", "u1", "d1", view.SyncPoint{To: 2, Rewind: first})
	ack(b, 3, first)
	a.wantPoint("A", "u1", "d1", view.SyncPoint{To: 3, Rewind: first})
	s.close()
	if did := a.redeliver(Redelivery{BizType: "A", Target: "u1", DeviceID: "d1", After: 0}); did != "d1 3>0" {
		t.Errorf("planned %q", did)
	}
	// Away while it happened, at an edge that was away too.
	b.restart()
	s = b.dial("deviceId=d1 userId=u1 biz=A", "Last-Event-ID", before)
	second, cursor := s.again("(0,3]", "one", "two", "three")
	if second <= first {
		t.Errorf("rewind %d after %d", second, first)
	}
	s.close()
	// Shown already, though nothing was acknowledged, and at an edge whose view
	// is new.
	c := a.beside("c")
	c.wantPoint("A", "u1", "d1", view.SyncPoint{To: 0, Rewind: second})
	s = c.dial("deviceId=d1 userId=u1 biz=A", "Last-Event-ID", cursor)
	a.task.push(text("A", "u1", "four"))
	s.again("(3,4]", "four")
	ack(c, 4, second)
	for _, h := range []*house{a, b, c} {
		h.wantPoint("A", "u1", "d1", view.SyncPoint{To: 4, Rewind: second})
		if st, err := h.server.Target(instance, schemas.TargetUser, "u1"); err != nil || st.Arrivals != 4 {
			t.Errorf("%d arrivals, %v: what came twice arrived once", st.Arrivals, err)
		}
	}
}

// TestRedeliveryOfASharedPoint: in a single-device business the user's point
// goes back, and the device that is online gets it.
func TestRedeliveryOfASharedPoint(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("ONE", "u1", "one"), text("ONE", "u1", "two"))
	s := h.dial("deviceId=d1 userId=u1 biz=ONE")
	s.again("(0,2]", "one", "two")
	h.ack("d1", "u1", "ONE", 2)
	s.close()
	other := h.dial("deviceId=d2 userId=u1 biz=ONE")
	h.wantPoint("ONE", "u1", "d1", view.SyncPoint{To: 2})
	if did := h.redeliver(Redelivery{BizType: "ONE", Target: "u1", After: 1}); did != " 2>1" {
		t.Errorf("planned %q", did)
	}
	other.again("(1,2]", "two")
	h.ack("d2", "u1", "ONE", 2)
	eventually(t, "the user's point", func() error {
		at, err := h.server.partitionOf("u1").view.Taken(viewLog("ONE", "u1"))
		if err != nil || at.To != 2 || at.Rewind == 0 {
			return fmt.Errorf("%+v, %w", at, err)
		}
		return nil
	})
	if did := h.redeliver(Redelivery{BizType: "ONE", Target: "u1", After: 2}); did != "" {
		t.Errorf("nothing is behind 2, and it planned %q", did)
	}
}

// TestPlanRewinds: what is refused, and what would move nothing.
func TestPlanRewinds(t *testing.T) {
	h := newHouse(t, nil)
	early, late := text("A", "u1", "early"), text("A", "u1", "late")
	early.StreamTime, late.StreamTime = 1000, 2000
	h.task.push(early, late, text("DEV", "d1", "x"), text("ALL", "", "g"))
	s := h.dial("deviceId=d1 userId=u1 biz=A,DEV,ALL")
	for range 3 {
		s.next()
	}
	h.ack("d1", "u1", "A", 2)
	h.ack("d1", "u1", "DEV", 1)
	h.ack("d1", "u1", "ALL", 1)
	for l, want := range map[view.Log]int64{viewLog("A", "u1"): 2, viewLog("DEV", "d1"): 1, viewLog("ALL", "u1"): 1} {
		eventually(t, "the view has "+l.BizType+"'s point", func() error { // a plan lists what the view has
			if all, err := h.server.partitionOf(l.Target).view.Points(l); err != nil || len(all) != 1 || all[0].To != want {
				return fmt.Errorf("%+v, %w", all, err)
			}
			return nil
		})
	}
	for name, tt := range map[string]struct {
		r    Redelivery
		want string
	}{
		"a device business":         {Redelivery{BizType: "DEV", Target: "d1"}, "d1 1>0"},
		"a global one":              {Redelivery{BizType: "ALL", Target: "u1"}, "d1 1>0"},
		"from a time":               {Redelivery{BizType: "A", Target: "u1", Since: 1001}, "d1 2>1"},
		"from the very time":        {Redelivery{BizType: "A", Target: "u1", Since: 1000}, "d1 2>0"},
		"from a time that is later": {Redelivery{BizType: "A", Target: "u1", Since: 2001}, ""},
		"of another device":         {Redelivery{BizType: "A", Target: "u1", DeviceID: "d2"}, ""},
		"never forward":             {Redelivery{BizType: "A", Target: "u1", After: 9}, ""},
		"of nobody":                 {Redelivery{BizType: "A", Target: "nobody"}, ""},
		"no business":               {Redelivery{BizType: "NONE", Target: "u1"}, "there is no business"},
		"one that keeps nothing":    {Redelivery{BizType: "NOW", Target: "u1"}, "keeps nothing"},
		"a device of a shared one":  {Redelivery{BizType: "ONE", Target: "u1", DeviceID: "d1"}, "name no device"},
	} {
		tt.r.InstanceID = instance
		plan, err := h.server.PlanRewinds(&tt.r)
		var refused *CannotRedeliverError
		var got []string
		for _, p := range plan {
			got = append(got, fmt.Sprintf("%s %d>%d", p.DeviceID, p.From, p.To))
		}
		switch {
		case errors.As(err, &refused):
			if tt.want == "" || !strings.Contains(refused.Reason, tt.want) {
				t.Errorf("%s: %v, want %q", name, err, tt.want)
			}
		case err != nil || strings.Join(got, ", ") != tt.want:
			t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
		}
	}
	if err := h.server.Rewind(t.Context(), make([]Rewind, RewindsMax+1)); !strings.Contains(fmt.Sprint(err), "limit") {
		t.Errorf("too many: %v", err)
	}
}

// TestRedeliveryOverNative: the same by frames.
func TestRedeliveryOverNative(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "one"), text("A", "u1", "two"))
	h.task.settle()
	d := h.ws()
	d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}))
	d.wantBatch("A", 0, 2, 0)
	d.say(schemas.Frame{Acks: &schemas.Acks{Acks: []schemas.AckTo{{BizType: "A", To: 2, Rewind: 1}}}})
	h.wantPoint("A", "u1", "d1", view.SyncPoint{To: 2})
	h.redeliver(Redelivery{BizType: "A", Target: "u1", After: 1})
	rewind := d.wantBatch("A", 1, 2, -1)
	d.say(schemas.Frame{Ping: &schemas.Ping{Acks: []schemas.AckTo{{BizType: "A", To: 2, Rewind: 1}, {BizType: "A", To: 2, Rewind: rewind}}}})
	h.wantPoint("A", "u1", "d1", view.SyncPoint{To: 2, Rewind: rewind})
}

// wantBatch waits for a batch that covers (from, to], and gives its rewind;
// rewind -1 takes any but none.
func (d *device) wantBatch(biz string, from, to, rewind int64) int64 {
	d.t.Helper()
	for {
		f := d.next()
		if f.Batch == nil {
			continue
		}
		s := f.Batch.Spans[0]
		if s.BizType != biz || s.From != from || s.To != to || rewind >= 0 && s.Rewind != rewind || rewind < 0 && s.Rewind == 0 {
			d.t.Fatalf("%+v, want %s (%d,%d] rewind %d", s, biz, from, to, rewind)
		}
		return s.Rewind
	}
}
