package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Defaults and limits of a [Config].
const (
	DefaultBackoffMin = 500 * time.Millisecond
	DefaultBackoffMax = 30 * time.Second
	// EventBytesMax bounds one event of the stream.
	EventBytesMax = 16 << 20
	// HintMax bounds what the server may ask a client to wait before it
	// connects again.
	HintMax = 5 * time.Minute
	// TokenMax bounds SessionID and UserToken, in bytes. Where an instance does
	// not verify tokens, the server takes 100 characters.
	TokenMax = 4 << 10
)

// ErrGap says that the server skipped entries: a broken promise of the server,
// or points of another server.
var ErrGap = errors.New("the stream skipped entries")

// ErrData says that the stream holds what no server of ours sends, or an event
// past [EventBytesMax]: the address of something else, or a broken server.
// Trying again would bring the same.
var ErrData = errors.New("the stream holds what cannot be read")

// CloseError says that the server ended the stream for good.
type CloseError struct {
	Status int    // HTTP status, or 0 when the stream said so itself
	Reason string // the server's words
}

func (e *CloseError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("server answered %d: %s", e.Status, e.Reason)
	}
	return "server closed the stream: " + e.Reason
}

// Op is one entry as the application gets it.
type Op struct {
	ID         int64
	ThirdMsgID string
	Payload    []byte
	Binary     bool // Payload was sent as binaryPayload
}

// Event is a run of entries of one business. It covers the ids (From, To];
// those that are not in Ops are not for this client.
type Event struct {
	BizType  string
	From, To int64
	Ops      []Op
	// Rewind is the number of the last redelivery that an operator asked for;
	// 0: there was none. Where it is larger than before, Ops come again.
	Rewind int64
}

// Handler takes an event. An error ends [Client.Run]; the event will come
// again on the next run.
type Handler func(ctx context.Context, e Event) error

// Config of a [Client].
type Config struct {
	// URL of the server's public door, such as http://127.0.0.1:8080. Required.
	URL string
	// InstanceID, DeviceID and Biz say what to receive. Required.
	InstanceID string
	DeviceID   string
	Biz        []string
	// ClientKey is the instance's client key.
	ClientKey string
	// UserID and SessionID bind the device's user, if somebody is logged in.
	UserID    string
	SessionID string
	// UserToken proves the user, where the instance wants a token for that. When
	// it ends, the user's data stops, which is logged, and the device's goes on:
	// run another client with a new one.
	UserToken string
	// DeviceCredential proves that the device id is this device's. The server
	// gives one at the first connect: it goes to KeepCredential, if set, which
	// must store it before it returns, and is shown from then on.
	DeviceCredential string
	KeepCredential   func(credential string) error
	// OS and AppVersion let restricted entries through that fit.
	OS         string
	AppVersion string

	// SyncPoints are the largest ids that the application holds, per
	// business. Nil leaves the start to the server's record.
	SyncPoints map[string]int64
	// Rewinds are the largest [Event.Rewind] that the application has stored with
	// its SyncPoints, per business: without them a redelivery that was taken may
	// come once more.
	Rewinds map[string]int64
	// Ack acknowledges what the handler has taken; default off: the
	// application calls [Client.Ack].
	Ack bool

	// BackoffMin and BackoffMax bound the pause before a reconnect; each pause
	// is random between zero and a limit that doubles. Defaults 0.5 s and 30 s.
	BackoffMin, BackoffMax time.Duration
	// HTTP does the calls; default: a client of its own without time-out.
	HTTP *http.Client
	// Log is where to report reconnects; default slog.Default().
	Log *slog.Logger
}

// Validate names the first thing that is wrong.
func (c *Config) Validate() error {
	switch {
	case c.URL == "":
		return errors.New("client: URL is missing")
	case c.InstanceID == "":
		return errors.New("client: InstanceID is missing")
	case c.DeviceID == "":
		return errors.New("client: DeviceID is missing")
	case len(c.Biz) == 0:
		return errors.New("client: Biz is empty: name at least one business")
	case len(c.SessionID) > TokenMax || len(c.UserToken) > TokenMax:
		return fmt.Errorf("client: SessionID or UserToken is over %d bytes", TokenMax)
	case c.BackoffMin < 0 || c.BackoffMax < 0 || c.BackoffMax > 0 && c.BackoffMin > c.BackoffMax:
		return fmt.Errorf("client: BackoffMin %s and BackoffMax %s: use 0 for the default, and no minimum above the maximum", c.BackoffMin, c.BackoffMax)
	}
	return nil
}

// Client receives the pushes of one device.
type Client struct {
	cfg     Config
	points  map[string]int64 // what the handler has taken
	rewinds map[string]int64 // the last redelivery that was shown
	cursor  string           // Last-Event-ID
	owed    map[string]int64 // taken, and not acknowledged yet
	hint    time.Duration    // the server's wish for the next pause; 0: none
}

// New checks the configuration.
func New(cfg Config) (*Client, error) {
	if cfg.BackoffMin == 0 {
		cfg.BackoffMin = DefaultBackoffMin
	}
	if cfg.BackoffMax == 0 {
		cfg.BackoffMax = DefaultBackoffMax
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.URL = strings.TrimRight(cfg.URL, "/")
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, points: maps.Clone(cfg.SyncPoints), owed: make(map[string]int64)}
	if c.points == nil {
		c.points = make(map[string]int64)
	}
	if c.rewinds = maps.Clone(cfg.Rewinds); c.rewinds == nil {
		c.rewinds = make(map[string]int64)
	}
	return c, nil
}

// SyncPoints are the largest ids that the handler has taken, per business.
// Call it from the handler or after Run.
func (c *Client) SyncPoints() map[string]int64 { return maps.Clone(c.points) }

// Rewinds are the largest [Event.Rewind] that was seen, per business. Call it as
// [Client.SyncPoints], and store both together.
func (c *Client) Rewinds() map[string]int64 { return maps.Clone(c.rewinds) }

// Run receives until the context ends.
func (c *Client) Run(ctx context.Context, h Handler) error {
	limit := c.cfg.BackoffMin
	for {
		began := time.Now()
		err := c.stream(ctx, h)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var final *CloseError
		var handler *handlerError
		switch {
		case errors.As(err, &handler):
			return handler.error
		case errors.As(err, &final), errors.Is(err, ErrGap), errors.Is(err, ErrData):
			return err
		}
		if time.Since(began) > c.cfg.BackoffMax {
			limit = c.cfg.BackoffMin
		}
		wait := rand.N(limit)
		if c.hint > 0 { // the server has drawn it, so that not all come at once
			wait, c.hint = c.hint, 0
		}
		c.cfg.Log.Info("stream ended, connecting again", "in", wait.Round(time.Millisecond), "cause", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		limit = min(2*limit, c.cfg.BackoffMax)
	}
}

// handlerError carries the application's error through the retry loop.
type handlerError struct{ error }

// take hands an event to the handler: what it has seen is cut off, what would
// leave a gap is refused. A new rewind means that what was seen comes again.
func (c *Client) take(ctx context.Context, e Event, h Handler) error {
	held, known := c.points[e.BizType]
	if e.Rewind > c.rewinds[e.BizType] {
		c.rewinds[e.BizType] = e.Rewind
		if known && e.From < held {
			held = e.From
			c.points[e.BizType] = held
		}
	}
	if known && e.From > held {
		return fmt.Errorf("%w: %s covers (%d, %d], and %d is the last we hold", ErrGap, e.BizType, e.From, e.To, held)
	}
	e.Ops = slices.DeleteFunc(e.Ops, func(op Op) bool { return known && op.ID <= held })
	if known && e.To <= held {
		return nil
	}
	if len(e.Ops) > 0 {
		if err := h(ctx, e); err != nil {
			return &handlerError{err}
		}
	}
	c.points[e.BizType] = e.To
	if c.cfg.Ack {
		c.owed[e.BizType] = e.To
		return c.settle(ctx)
	}
	return nil
}

// settle acknowledges what was taken. What cannot be, as the connection is
// gone, is owed until the next stream.
func (c *Client) settle(ctx context.Context) error {
	for _, biz := range slices.Sorted(maps.Keys(c.owed)) {
		if err := c.Ack(ctx, biz, c.owed[biz]); err != nil {
			return err
		}
		delete(c.owed, biz)
	}
	return nil
}
