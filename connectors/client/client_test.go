package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// collect gives a handler that writes down what it gets.
func collect(got *[]string) Handler {
	return func(_ context.Context, e Event) error {
		for _, op := range e.Ops {
			*got = append(*got, fmt.Sprintf("%s%d=%s", e.BizType, op.ID, op.Payload))
		}
		return nil
	}
}

// play runs a client through a script to its end, which must be the script's.
func play(t *testing.T, c *Client, h Handler) {
	t.Helper()
	err := c.Run(t.Context(), h)
	var final *CloseError
	if !errors.As(err, &final) || final.Status != http.StatusGone || final.Reason != over {
		t.Fatalf("ended with %v", err)
	}
}

func TestEntriesComeOnceAndInOrderOverReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := event("A", 2, 4, 3, 4)
		s := &script{streams: []answer{
			{text: ":ok\n\n" + event("A", 0, 2, 1, 2) + event("B", 0, 1, 1) + whole[:len(whole)-1]}, // the blank line is missing: half an event
			{status: http.StatusServiceUnavailable},
			{text: event("A", 0, 4, 1, 2, 3, 4) + event("A", 0, 2, 1, 2) + event("B", 1, 5)}, // repeats, and a range without entries
			{text: event("A", 4, 5, 5) + event("B", 5, 6, 6)},                                // where it would go on, had the repeats moved nothing back
		}}
		var got []string
		c := scripted(t, s, nil)
		play(t, c, collect(&got))
		want := []string{"A1=p1", "A2=p2", "B1=p1", "A3=p3", "A4=p4", "A5=p5", "B6=p6"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if p := c.SyncPoints(); p["A"] != 5 || p["B"] != 6 {
			t.Errorf("sync points %v", p)
		}
	})
}

func TestReconnectGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{text: event("A", 7, 8, 8) + event("B", 0, 3, 3)}}}
		var got []string
		play(t, scripted(t, s, func(c *Config) { c.SyncPoints = map[string]int64{"A": 7} }), collect(&got))
		first, second := s.opened[0], s.opened[1]
		if h := first.Header.Get("Last-Event-ID"); h != "" {
			t.Errorf("the first stream names cursor %q", h)
		}
		if p := first.URL.Query().Get("syncPoints"); p != "A:7" {
			t.Errorf("the first stream starts at %q", p)
		}
		if h := second.Header.Get("Last-Event-ID"); h != "B-3" {
			t.Errorf("the second stream names cursor %q", h)
		}
		if p := second.URL.Query().Get("syncPoints"); p != "A:8,B:3" {
			t.Errorf("the second stream starts at %q", p)
		}
		if h := second.Header.Get("Authorization"); h != "Bearer ck-test" {
			t.Errorf("the second stream shows key %q", h)
		}
	})
}

func TestGapEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{text: event("A", 0, 2, 1, 2) + event("A", 3, 5, 4, 5)}}}
		var got []string
		err := scripted(t, s, nil).Run(t.Context(), collect(&got))
		if !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "A covers (3, 5], and 2 is the last we hold") {
			t.Errorf("ended with %v", err)
		}
		if want := []string{"A1=p1", "A2=p2"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAnIDMissingInsideARangeIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{text: event("A", 0, 5, 2, 4) + event("A", 5, 6, 6)}}}
		var got []string
		play(t, scripted(t, s, nil), collect(&got))
		if want := []string{"A2=p2", "A4=p4", "A6=p6"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAcknowledgedIsWhatTheHandlerHasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{text: event("A", 0, 2, 1, 2) + event("A", 2, 3, 3)}}}
		refused := errors.New("disk full")
		c := scripted(t, s, func(c *Config) { c.Ack = true })
		err := c.Run(t.Context(), func(_ context.Context, e Event) error {
			if len(s.acks) != int(e.From/2) {
				t.Errorf("acks %v before the handler has taken (%d, %d]", s.acks, e.From, e.To)
			}
			if e.To == 3 {
				return refused
			}
			return nil
		})
		if !errors.Is(err, refused) {
			t.Errorf("ended with %v", err)
		}
		if want := []string{"A:2"}; !slices.Equal(s.acks, want) || c.SyncPoints()["A"] != 2 {
			t.Errorf("acks %v, want %v; sync points %v", s.acks, want, c.SyncPoints())
		}
	})
}

func TestAcknowledgementThatFailsIsMadeUpForOnTheNextStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{text: event("A", 0, 1, 1)}, {text: ":ok\n\n"}}, ackFail: []int{0, http.StatusBadGateway}}
		var got []string
		s.streams = append(s.streams, answer{text: event("B", 0, 1, 1)})
		play(t, scripted(t, s, func(c *Config) { c.Ack = true }), collect(&got))
		if want := []string{"A:1", "B:1"}; !slices.Equal(s.acks, want) {
			t.Errorf("acks %v, want %v", s.acks, want)
		}
		if want := []string{"A1=p1", "B1=p1"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAcknowledgementThatIsRefusedEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{text: event("A", 0, 1, 1)}}, ackFail: []int{http.StatusConflict}}
		err := scripted(t, s, func(c *Config) { c.Ack = true }).Run(t.Context(), collect(new([]string)))
		var final *CloseError
		if !errors.As(err, &final) || final.Status != http.StatusConflict || !strings.Contains(err.Error(), "acknowledge A 1") {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestPausesAreRandomBelowALimitThatDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 200
		limits := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}
		longest, shortest := make([]time.Duration, len(limits)), slices.Clone(limits)
		for range rounds {
			s := &script{streams: make([]answer, len(limits))}
			play(t, scripted(t, s, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Second, 5*time.Second }), nil)
			for i := range limits {
				wait := s.at[i+1].Sub(s.at[i])
				longest[i], shortest[i] = max(longest[i], wait), min(shortest[i], wait)
			}
		}
		for i, limit := range limits {
			// 200 draws all outside of a quarter happen once in 10^25 times.
			if longest[i] >= limit || longest[i] < limit*3/4 || shortest[i] > limit/4 {
				t.Errorf("pause %d: from %s to %s, want all from 0 to %s", i, shortest[i], longest[i], limit)
			}
		}
	})
}

func TestALongStreamStartsThePausesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{streams: []answer{{}, {}, {}, {}, {}, {lasts: time.Minute}}}
		play(t, scripted(t, s, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Millisecond, 20*time.Second }), nil)
		if wait := s.at[6].Sub(s.at[5]) - time.Minute; wait >= time.Millisecond {
			t.Errorf("after a minute of work it waited %s", wait)
		}
	})
}

func TestTheServersWishIsThePause(t *testing.T) {
	drain := "event: close\nretry: 2500\ndata: {\"code\":\"DRAIN\",\"reason\":\"this node goes\",\"retry\":true}\n\n"
	for name, tt := range map[string]struct {
		stream answer
		want   time.Duration
	}{
		"close of a drain":  {answer{text: drain}, 2500 * time.Millisecond},
		"retry field alone": {answer{text: "retry: 700\n\n" + event("A", 0, 1, 1)}, 700 * time.Millisecond},
		"Retry-After":       {answer{status: http.StatusServiceUnavailable, retryAfter: "3"}, 3 * time.Second},
		"more than allowed": {answer{status: http.StatusServiceUnavailable, retryAfter: "99999999999"}, HintMax},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{streams: []answer{tt.stream, {}}}
				play(t, scripted(t, s, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Millisecond, time.Millisecond }), collect(new([]string)))
				if wait := s.at[1].Sub(s.at[0]); wait != tt.want {
					t.Errorf("waited %s, want %s", wait, tt.want)
				}
				if wait := s.at[2].Sub(s.at[1]); wait >= time.Millisecond {
					t.Errorf("the wish counts twice: waited %s", wait)
				}
			})
		})
	}
}

func TestWhatEndsRun(t *testing.T) {
	for name, tt := range map[string]struct {
		stream answer
		want   string
		is     error
	}{
		"replaced":          {answer{text: "event: close\ndata: {\"code\":\"REPLACED\",\"reason\":\"the same device connected again\",\"retry\":false}\n\n"}, "server closed the stream: the same device connected again", nil},
		"wrong key":         {answer{status: http.StatusUnauthorized, text: "wrong client key"}, "server answered 401: wrong client key", nil},
		"no JSON":           {answer{text: "event: sync\ndata: {\"bizType\":\n\n"}, "read event: unexpected end of JSON input", ErrData},
		"wrong type":        {answer{text: "event: sync\ndata: {\"bizType\":\"A\",\"to\":\"1\"}\n\n"}, "read event: json: cannot unmarshal string", ErrData},
		"no business":       {answer{text: event("", 0, 1, 1)}, `business ""`, ErrData},
		"range backwards":   {answer{text: event("A", 3, 2)}, "covers (3, 2]", ErrData},
		"id twice":          {answer{text: event("A", 0, 2, 1, 1)}, "A has id 1 after 1", ErrData},
		"id outside":        {answer{text: event("A", 0, 2, 3)}, "A has id 3 after 0 in an event that covers (0, 2]", ErrData},
		"binary, no base64": {answer{text: "event: sync\ndata: {\"bizType\":\"A\",\"to\":1,\"op\":[{\"id\":1,\"pl\":\"?\",\"isB\":true}]}\n\n"}, "read binary payload of A id 1", ErrData},
		"one long line":     {answer{text: "data: " + strings.Repeat("x", EventBytesMax)}, "an event of more than 16777216 bytes", ErrData},
		"many lines":        {answer{text: strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 17)}, "an event of more than 16777216 bytes", ErrData},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{streams: []answer{tt.stream}}
				err := scripted(t, s, nil).Run(t.Context(), func(context.Context, Event) error {
					t.Error("the handler was called")
					return nil
				})
				if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("ended with %v, want %q", err, tt.want)
				}
				if len(s.opened) != 1 {
					t.Errorf("tried %d times", len(s.opened))
				}
			})
		})
	}
}

func TestTheContextEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := &script{streams: []answer{{text: "retry: 60000\n\n"}}}
		began := time.Now()
		err := scripted(t, s, nil).Run(ctx, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("ended after %s with %v", time.Since(began), err)
		}
	})
}

func TestBinaryPayload(t *testing.T) {
	w := wireEvent{}
	if err := json.Unmarshal([]byte(`{"bizType":"A","from":3,"to":7,"op":[{"id":4,"thirdMsgId":"m4","pl":"text"},{"id":7,"thirdMsgId":"m7","pl":"aGk=","isB":true}]}`), &w); err != nil {
		t.Fatal(err)
	}
	e, err := w.event()
	if err != nil || string(e.Ops[0].Payload) != "text" || e.Ops[0].Binary || string(e.Ops[1].Payload) != "hi" || !e.Ops[1].Binary {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	good := Config{URL: "u", InstanceID: "i", DeviceID: "d", Biz: []string{"A"}}
	for field, spoil := range map[string]func(*Config){
		"URL":        func(c *Config) { c.URL = "" },
		"InstanceID": func(c *Config) { c.InstanceID = "" },
		"DeviceID":   func(c *Config) { c.DeviceID = "" },
		"Biz":        func(c *Config) { c.Biz = nil },
		"SessionID":  func(c *Config) { c.SessionID = strings.Repeat("x", TokenMax+1) },
		"UserToken":  func(c *Config) { c.UserToken = strings.Repeat("x", TokenMax+1) },
		"BackoffMin": func(c *Config) { c.BackoffMin = time.Hour },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	good.SessionID, good.UserToken = strings.Repeat("x", TokenMax), strings.Repeat("x", TokenMax)
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}
