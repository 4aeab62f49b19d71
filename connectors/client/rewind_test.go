package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// rewound is an event behind a rewind.
func rewound(n, biz string, from, to int64, ids ...int64) string {
	return strings.Replace(event(biz, from, to, ids...), `"op":`, `"rewind":`+n+`,"op":`, 1)
}

// TestRedelivery: what an operator has sent again reaches the handler again,
// once for each time, over reconnects, and is acknowledged as such.
func TestRedelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{
			{text: event("A", 0, 3, 1, 2, 3) + event("B", 0, 1, 1) + rewound("100", "A", 1, 2, 2)},
			{text: rewound("100", "A", 1, 3, 2, 3)}, // 2 was taken
			{text: rewound("100", "A", 0, 3, 1, 2, 3) + rewound("100", "A", 3, 4, 4)},
			{text: rewound("200", "A", 4, 5, 5) + rewound("300", "A", 4, 5, 5)},
			{text: event("A", 5, 6, 6)}, // a server that has lost its rewinds
		}}
		var got []string
		c := scripted(t, s, func(c *Config) { c.Ack = true })
		play(t, c, collect(&got))
		want := []string{"A1=p1", "A2=p2", "A3=p3", "B1=p1", "A2=p2", "A3=p3", "A4=p4", "A5=p5", "A5=p5", "A6=p6"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if p, r := c.SyncPoints()["A"], c.Rewinds()["A"]; p != 6 || r != 300 {
			t.Errorf("ended at %d behind rewind %d", p, r)
		}
		if want := []string{"A:3", "B:1", "A:2@100", "A:3@100", "A:4@100", "A:5@200", "A:5@300", "A:6@300"}; !slices.Equal(s.acks, want) {
			t.Errorf("acknowledged %v, want %v", s.acks, want)
		}
		if p := s.opened[1].URL.Query().Get("syncPoints"); p != "A:2@100,B:1" {
			t.Errorf("the second stream starts at %q", p)
		}
	})
}

// TestRedeliveryOverRestarts: an application that stores its rewinds with its
// points gets a redelivery once; one that could not take it gets it again.
func TestRedeliveryOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		s := &script{streams: []answer{{text: rewound("100", "A", 1, 3, 2, 3)}, {text: rewound("100", "A", 1, 3, 2, 3)}}}
		c := scripted(t, s, func(c *Config) { c.SyncPoints = map[string]int64{"A": 3} })
		if err := c.Run(t.Context(), func(context.Context, Event) error { return full }); !errors.Is(err, full) {
			t.Fatal(err)
		}
		if p, r := c.SyncPoints()["A"], c.Rewinds()["A"]; p != 1 || r != 100 {
			t.Errorf("%d behind rewind %d: what was not taken is not held", p, r)
		}
		var got []string
		play(t, scripted(t, s, func(n *Config) { n.SyncPoints, n.Rewinds = c.SyncPoints(), c.Rewinds() }), collect(&got))
		if want := []string{"A2=p2", "A3=p3"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		s = &script{streams: []answer{{text: rewound("100", "A", 1, 3, 2, 3)}}}
		got = nil
		play(t, scripted(t, s, func(c *Config) { c.SyncPoints, c.Rewinds = map[string]int64{"A": 3}, map[string]int64{"A": 100} }), collect(&got))
		if len(got) > 0 {
			t.Errorf("%v came once more", got)
		}
	})
}
