package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/bench/child"
)

// settleTime is how long a process is left alone before it is weighed.
const settleTime = 3 * time.Second

// connectLimit bounds the opening of one idle stream, with repeats when the
// node says that too many come at once.
const connectLimit = 30 * time.Second

// Idle is what silent streams weigh.
type Idle struct {
	Streams int   `json:"streams"`
	Before  int64 `json:"rssBeforeBytes"`
	After   int64 `json:"rssAfterBytes"`
}

// PerStream is in bytes.
func (i *Idle) PerStream() float64 { return float64(i.After-i.Before) / float64(i.Streams) }

// weighIdle opens silent streams on a fresh node.
func weighIdle(ctx context.Context, o *options, dir string) (idle *Idle, err error) {
	n, err := startNode(ctx, o.tidemark, filepath.Join(dir, "idle"), nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stop := n.child.Kill(); err == nil {
			err = stop
		}
	}()
	idle = &Idle{Streams: o.idle}
	if idle.Before, err = rest(ctx, n); err != nil {
		return nil, err
	}
	conns := make([]net.Conn, 0, o.idle)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range o.idle {
		c, err := openIdle(ctx, n.url, userName(i))
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	idle.After, err = rest(ctx, n)
	return idle, err
}

// rest gives the node's resident size after a moment of peace.
func rest(ctx context.Context, n *node) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settleTime):
	}
	u, err := child.Of(n.child.PID())
	return u.RSS, err
}

// openIdle opens a stream without an HTTP client, whose goroutines and buffers
// would make this program large.
func openIdle(ctx context.Context, base, user string) (net.Conn, error) {
	host := strings.TrimPrefix(base, "http://")
	deadline := time.Now().Add(connectLimit)
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
		if err != nil {
			return nil, fmt.Errorf("open idle stream: %w", err)
		}
		c.SetDeadline(deadline) //nolint:errcheck // reading says so
		fmt.Fprintf(c, "GET /sync/stream?%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", streamQuery(user), host, clientKey)
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil) //nolint:bodyclose // the body is the stream, and the connection is kept
		if err == nil && res.StatusCode == http.StatusOK {
			return c, nil
		}
		c.Close()
		if err != nil {
			return nil, fmt.Errorf("open idle stream of %s: %w", user, err)
		}
		if res.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return nil, fmt.Errorf("open idle stream of %s: status %s", user, res.Status)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
