package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// inOrder is a handler that fails the test for an id that does not rise.
func inOrder(t *testing.T, last map[string]int64) Handler {
	return func(_ context.Context, e Event) error {
		for _, op := range e.Ops {
			if op.ID <= last[e.BizType] {
				t.Errorf("%s: id %d after %d", e.BizType, op.ID, last[e.BizType])
			}
			last[e.BizType] = op.ID
		}
		return nil
	}
}

// flaky is a server on a real socket that holds a log of one business, and
// cuts every stream somewhere.
type flaky struct {
	mu    sync.Mutex
	rng   *rand.Rand
	head  int64
	acked []int64
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path == "/sync/ack" {
		var to int64
		fmt.Fscanf(r.Body, `{"bizType":"A","deviceId":"phone1","instanceId":"demo_APP1","rewind":1,"to":%d`, &to)
		f.acked = append(f.acked, to)
		fmt.Fprint(w, `{"success":true}`)
		return
	}
	at, _ := strconv.ParseInt(strings.TrimPrefix(r.Header.Get("Last-Event-ID"), "A-"), 10, 64)
	at = max(0, at-f.rng.Int64N(3)) // a careful server repeats some
	var text strings.Builder
	for at < f.head {
		to := min(f.head, at+1+f.rng.Int64N(4))
		var ids []int64
		for id := at + 1; id <= to; id++ {
			ids = append(ids, id)
		}
		text.WriteString(event("A", at, to, ids...))
		at = to
	}
	fmt.Fprint(w, text.String()[:min(text.Len(), f.rng.IntN(2000))])
	w.(http.Flusher).Flush()
	if f.rng.IntN(2) == 0 {
		panic(http.ErrAbortHandler) // in the middle of the chunked body
	}
}

func TestEveryEntryOnceFromAServerThatCutsEveryStream(t *testing.T) {
	const seed = 7
	f := &flaky{rng: rand.New(rand.NewPCG(seed, 0)), head: 300}
	srv := httptest.NewServer(f)
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := New(Config{
		URL: srv.URL + "/", InstanceID: "demo_APP1", DeviceID: "phone1", Biz: []string{"A"}, Ack: true,
		BackoffMin: time.Microsecond, BackoffMax: time.Millisecond, HTTP: srv.Client(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	done := errors.New("has all")
	err = c.Run(ctx, func(_ context.Context, e Event) error {
		for _, op := range e.Ops {
			got = append(got, op.ID)
		}
		if e.To == f.head {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		t.Fatal(err)
	}
	for i, id := range got {
		if id != int64(i+1) {
			t.Fatalf("entry %d has id %d, seed %d", i+1, id, seed)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(got) != 300 || len(f.acked) == 0 || !slices.IsSorted(f.acked) || f.acked[0] == 0 {
		t.Errorf("%d entries, acknowledged %v", len(got), f.acked)
	}
}
