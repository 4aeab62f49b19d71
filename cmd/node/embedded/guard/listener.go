package guard

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// Limits of a listener and its connections.
const (
	// MaxConns bounds the open connections; one more is closed at once. A
	// Kafka client holds about three to a broker.
	MaxConns = 1000
	// MaxFrameBytes bounds a Produce request, as Kafka's
	// socket.request.max.bytes does.
	MaxFrameBytes = 100 << 20
	// MaxOtherBytes bounds every other request.
	MaxOtherBytes = 1 << 20
	// MaxInFlightBytes bounds the frames over smallFrame that are being read or
	// have no answer yet, all connections together; a reader waits for its
	// share. (Each is there twice while it is handed on.)
	MaxInFlightBytes = 256 << 20
	// MaxFetchBytes and minFetchBytes bound the answer to one fetch: its share
	// of fetchBudget, by the connections open.
	MaxFetchBytes = 4 << 20
	minFetchBytes = 1 << 20
	fetchBudget   = 256 << 20
	// MaxProducers bounds the producer ids that write while the process lives:
	// the broker never forgets one.
	MaxProducers = 250_000

	smallFrame   = 64 << 10
	pooledFrame  = 2 << 20 // the largest that is kept for another
	readBuffer   = 4 << 10
	idleTimeout  = 10 * time.Minute // between requests; Kafka's connections.max.idle.ms
	frameTimeout = 30 * time.Second // for the rest of a frame, once it has begun
	writeTimeout = time.Minute      // for a client to take an answer
	logEvery     = 5 * time.Second  // between lines about refused clients
)

// Listener hands out guarded connections. Make it with [New].
type Listener struct {
	net.Listener
	logger  *slog.Logger
	ready   <-chan struct{}
	ctx     context.Context // ends when the listener closes
	cancel  context.CancelFunc
	frames  *semaphore.Weighted
	codecs  *codecs
	buffers sync.Pool // of *[]byte, for large frames
	open    atomic.Int64
	conns   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	producers map[int64]struct{}
	refused   int64 // since the last line
	lastLine  time.Time
}

// New guards a listener. No connection is handed out before ready is closed.
func New(inner net.Listener, logger *slog.Logger, ready <-chan struct{}) *Listener {
	l := &Listener{
		Listener: inner, logger: logger, ready: ready, frames: semaphore.NewWeighted(MaxInFlightBytes),
		codecs: newCodecs(MaxBatchBytes), producers: make(map[int64]struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Accept waits for the next connection. It ends only when the listener is
// closed: a passing failure (no file descriptor left) is waited out, since the
// broker would never accept again.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.ready:
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		raw, err := l.Listener.Accept()
		switch {
		case err == nil && l.open.Load() >= MaxConns:
			raw.Close()
			l.complain(raw.RemoteAddr(), errors.New("too many connections"))
			continue
		case err == nil:
			if !l.enter() {
				raw.Close()
				return nil, net.ErrClosed
			}
			return &conn{Conn: raw, l: l, in: bufio.NewReaderSize(raw, readBuffer), shares: shares{budget: l.frames}}, nil
		case l.ctx.Err() != nil:
			return nil, net.ErrClosed
		}
		l.logger.Error("accept on the embedded broker's port; trying again", "err", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return nil, net.ErrClosed
		}
	}
}

// enter counts a connection, unless the listener was closed meanwhile: who
// waits after that has seen all there will be.
func (l *Listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.open.Add(1)
	l.conns.Add(1)
	return true
}

// Close stops accepting; open connections stay.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	return l.Listener.Close()
}

// Wait returns when every connection handed out has been closed.
func (l *Listener) Wait() { l.conns.Wait() }

// Open counts the open connections.
func (l *Listener) Open() int { return int(l.open.Load()) }

// fetchCap is how much one fetch may answer now.
func (l *Listener) fetchCap() uint32 {
	return uint32(min(MaxFetchBytes, max(minFetchBytes, fetchBudget/max(1, l.open.Load()))))
}

// admitProducer reports whether a producer id may write.
func (l *Listener) admitProducer(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.producers[id]; ok {
		return true
	}
	if len(l.producers) >= MaxProducers {
		return false
	}
	l.producers[id] = struct{}{}
	return true
}

// complain logs why a client was refused; a flood of them makes few lines.
func (l *Listener) complain(from net.Addr, why error) {
	l.mu.Lock()
	l.refused++
	n, now := l.refused, time.Now()
	due := now.Sub(l.lastLine) >= logEvery
	if due {
		l.refused, l.lastLine = 0, now
	}
	l.mu.Unlock()
	if due {
		l.logger.Warn("refused a Kafka client", "client", from.String(), "why", why, "sinceLastLine", n)
	}
}
