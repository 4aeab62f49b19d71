package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Limits of streams.
const (
	// StreamsMax bounds the streams (live figures and oplog tails) that are
	// open at the same time at one node.
	StreamsMax = 16
	// MaxTailLast bounds how far back a tail begins, entries.
	MaxTailLast = 1000

	liveEvery   = time.Second
	streamWrite = 10 * time.Second // how long one event may take to leave
)

func (c *Console) liveRoutes() []route {
	live := get(v1+"/live/stream", "the same every second, as Server-Sent Events", registry.Viewer, nil, c.streamLive)
	tail := get(v1+"/oplog/tail", "oplog entries as they are written, as Server-Sent Events", registry.Operator, nil, c.streamTail,
		param{"partition", "default: all"}, param{"instance", "only of this instance"}, param{"biz", "only of this business"},
		param{"target", "only of this link token"}, param{"last", fmt.Sprintf("how many entries before the end to begin with, up to %d", MaxTailLast)})
	live.Media, tail.Media = "text/event-stream", "text/event-stream"
	return []route{get(v1+"/live", "rates, latency, connections, lag, parked tasks, quorum", registry.Viewer, Snapshot{}, c.getLive), live, tail}
}

func (c *Console) getLive(r *request) (any, error) {
	if c.cfg.Live == nil {
		return nil, errPart
	}
	return c.cfg.Live.Live(r.Context())
}

// stream is an answer that goes on: run calls send until its context ends.
type stream struct {
	slots chan struct{} // one token for each that is open
	run   func(r *http.Request, send sender) error
}

// sender sends one event of a stream; nil keeps the connection alive. What has
// an EventID is sent under it.
type sender func(event string, v any) error

// serveStream runs a stream in one of its slots, as Server-Sent Events. Before
// each event it looks whether the caller may still be here; who does not take
// an event in time is cut off.
func (c *Console) serveStream(w http.ResponseWriter, r *http.Request, s *stream) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		c.refuse(w, r, &Error{Status: http.StatusServiceUnavailable, Reason: fmt.Sprintf("%d streams of this kind are open at this node, which is the limit", cap(s.slots))})
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(c.stopping, cancel)() // Close ends it too
	r = r.WithContext(ctx)
	out := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	send := func(event string, v any) error {
		if _, err := c.Caller(r); err != nil {
			return err
		}
		text := []byte(": still here\n\n")
		if v != nil {
			b, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("encode event: %w", err)
			}
			text = fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, b)
			if e, ok := v.(interface{ EventID() string }); ok {
				text = fmt.Appendf(nil, "id: %s\n%s", e.EventID(), text)
			}
		}
		_ = out.SetWriteDeadline(time.Now().Add(c.streamWrite)) // not every writer can
		if _, err := w.Write(text); err != nil {
			return err
		}
		return out.Flush()
	}
	if err := send("", nil); err != nil {
		return
	}
	if err := s.run(r, send); err != nil && ctx.Err() == nil {
		c.cfg.Log.Info("console: a stream ended", "path", r.URL.Path, "error", err)
		_ = send("end", map[string]string{"reason": err.Error()})
	}
}

func (c *Console) streamLive(*request) (any, error) {
	if c.cfg.Live == nil {
		return nil, errPart
	}
	return &stream{slots: c.tails, run: func(r *http.Request, send sender) error {
		t := time.NewTicker(liveEvery)
		defer t.Stop()
		for {
			s, err := c.cfg.Live.Live(r.Context())
			if err != nil {
				return err
			}
			if err := send("live", s); err != nil {
				return err
			}
			select {
			case <-t.C:
			case <-r.Context().Done():
				return nil
			}
		}
	}}, nil
}

func (c *Console) streamTail(r *request) (any, error) {
	if c.cfg.Tail == nil {
		return nil, errPart
	}
	query := r.URL.Query()
	partition, err1 := number(query.Get("partition"), -1)
	last, err2 := number(query.Get("last"), 0)
	if err1 != nil || partition < -1 || partition > 1<<20 {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "partition", "a partition's number"}
	}
	if err2 != nil || last < 0 || last > MaxTailLast {
		return nil, &Error{http.StatusBadRequest, registry.Invalid, "last", fmt.Sprintf("0 to %d", MaxTailLast)}
	}
	q := TailQuery{Partition: int32(partition), InstanceID: query.Get("instance"), BizType: query.Get("biz"), LinkToken: query.Get("target"), Last: int(last)}
	for name, s := range map[string]string{"instance": q.InstanceID, "biz": q.BizType, "target": q.LinkToken} {
		if len(s) > 4*schemas.MaxLinkToken {
			return nil, &Error{http.StatusBadRequest, registry.Invalid, name, "too long"}
		}
	}
	return &stream{slots: c.tails, run: func(r *http.Request, send sender) error {
		return c.cfg.Tail.Follow(r.Context(), q, func(e *TailEntry) error {
			if e == nil {
				return send("", nil)
			}
			return send("entry", e)
		})
	}}, nil
}
