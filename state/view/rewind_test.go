package view

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

// TestRewind goes through what may stand in the acks topic around a rewind. A
// record is "device to" or "device to/rewind"; "back" stands before a rewind,
// and "*" is the target whose devices share a point. What comes of a history
// must not depend on whether the topic was compacted meanwhile, but for two
// faults at once: then it may be what stands in compacted.
func TestRewind(t *testing.T) {
	for name, tt := range map[string]struct{ history, want, compacted string }{
		"a point goes back":                       {"d 10; back d 5/100", "d 5/100", ""},
		"and on again":                            {"d 10; back d 5/100; d 7/100", "d 7/100", ""},
		"past where it was":                       {"d 10; back d 5/100; d 12/100", "d 12/100", ""},
		"what was confirmed before comes late":    {"d 10; back d 5/100; d 11", "d 5/100", ""},
		"and later still":                         {"d 10; back d 5/100; d 6/100; d 11; d 12", "d 6/100", "d 5/100"},
		"never forward":                           {"d 5; back d 8/100", "d 5/100", ""},
		"twice":                                   {"d 10; back d 5/100; d 9/100; back d 3/200; d 10/100; d 4/200", "d 4/200", ""},
		"by a clock that is behind":               {"d 10; back d 5/100; d 6/100; back d 3/90; d 7/100", "d 3/101", "d 3/90|d 7/100"},
		"an app that was installed again":         {"d 10; back d 5/100; d 0/100", "d 0/100", ""},
		"other devices stay":                      {"d 10; e 4; back d 5/100; e 9", "d 5/100, e 9", ""},
		"a target goes back":                      {"d 10; back * 5/100", "d 10, taken 5/100", ""},
		"and on, by whichever device":             {"d 10; back * 5/100; d 6/100; e 8/100", "d 6/100, e 8/100, taken 8/100", ""},
		"but not by what is late":                 {"e 10; back * 5/100; d 11; d 6/100", "d 6/100, e 10, taken 6/100", ""},
		"nor by a device that was told again":     {"e 10; back * 5/100; e 8/100; d 7/100", "d 7/100, e 8/100, taken 8/100", ""},
		"a target that nobody confirmed anything": {"back * 5/100", "taken 5/100", ""},
		"nothing was moved":                       {"d 10; e 7", "d 10, e 7", ""},
	} {
		records := ackRecords(t, tt.history)
		if got := pointsAfter(t, records); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		for cut := range len(records) + 1 { // compacted up to any record
			got := pointsAfter(t, append(compacted(records[:cut]), records[cut:]...))
			if got != tt.want && !slices.Contains(strings.Split(tt.compacted, "|"), got) {
				t.Errorf("%s, compacted up to record %d: %q, want %q", name, cut, got, tt.want)
			}
		}
	}
}

func ackRecords(t *testing.T, history string) (all []schemas.Ack) {
	t.Helper()
	for _, line := range strings.Split(history, "; ") {
		a := schemas.Ack{InstanceID: "i", Target: "u", BizType: "A", Time: 1}
		line, a.Back = strings.CutPrefix(line, "back ")
		device, at, _ := strings.Cut(line, " ")
		to, rewind, _ := strings.Cut(at, "/")
		a.DeviceID = strings.TrimPrefix(device, "*")
		if _, err := fmt.Sscan(to+" "+rewind+" 0", &a.To, &a.Rewind); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}

// compacted keeps the last record of each key.
func compacted(all []schemas.Ack) (kept []schemas.Ack) {
	seen := make(map[string]bool)
	for _, a := range slices.Backward(all) {
		if key := string(a.RecordKey()); !seen[key] {
			seen[key] = true
			kept = append(kept, a)
		}
	}
	slices.Reverse(kept)
	return kept
}

func pointsAfter(t *testing.T, acks []schemas.Ack) string {
	t.Helper()
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	for i, a := range acks {
		if _, err := v.Apply(nil, []Record{{Offset: int64(i), Value: a.Append(nil)}}); err != nil {
			t.Fatal(err)
		}
	}
	l := Log{"i", "u", "A"}
	points, err := v.Points(l)
	if err != nil {
		t.Fatal(err)
	}
	say := func(name string, p SyncPoint) string {
		if p.Rewind == 0 {
			return fmt.Sprintf("%s %d", name, p.To)
		}
		return fmt.Sprintf("%s %d/%d", name, p.To, p.Rewind)
	}
	var all []string
	for _, p := range points {
		all = append(all, say(p.DeviceID, p.SyncPoint))
	}
	taken, err := v.Taken(l)
	if err != nil {
		t.Fatal(err)
	}
	if taken.Rewind > 0 {
		all = append(all, say("taken", taken))
	}
	return strings.Join(all, ", ")
}

// What a device is given again does not count as arrived twice.
func TestRedeliveryArrivesOnce(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	now := int64(1_700_000_000_000)
	var records []Record
	for i, a := range []schemas.Ack{
		{DeviceID: "d", To: 10, Entries: 10}, {DeviceID: "d", To: 5, Rewind: 100, Back: true},
		{DeviceID: "d", To: 12, Entries: 7, Rewind: 100},
	} {
		a.InstanceID, a.Target, a.BizType, a.Time = "i", "u", "A", now
		records = append(records, Record{Offset: int64(i), Value: a.Append(nil)})
	}
	if _, err := v.Apply(nil, records); err != nil {
		t.Fatal(err)
	}
	if s, err := v.Stats("i", "u", now); err != nil || s["A"].Arrivals != 12 {
		t.Errorf("%+v, %v, want 12 arrivals", s, err)
	}
	if acked, err := v.Acked(Log{"i", "u", "A"}); err != nil || acked != 12 {
		t.Errorf("acked %d, %v", acked, err)
	}
}
