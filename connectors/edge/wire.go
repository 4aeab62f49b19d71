package edge

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	segjson "github.com/segmentio/encoding/json"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
)

// The transports, as metrics and pages name them.
const (
	transportSSE = "sse"
	transportWS  = "websocket"
	transportTCP = "tcp"
)

var transports = []string{transportSSE, transportWS, transportTCP}

// wire is how a transport says things.
type wire interface {
	name() string
	// speaks reports that the client must be heard now and then.
	speaks() bool
	// interval is how long the transport may stay silent.
	interval(*Config) time.Duration
	// open appends what comes before anything else.
	open(b []byte) []byte
	// greet is what answers the hello; the session has connected.
	greet(c *client, credential string) []byte
	// spans appends what a session has to deliver.
	spans(b []byte, s *session.Session, spans []session.Span, e *encoder) []byte
	keepAlive(b []byte) []byte
	notice(b []byte, n *schemas.Notice) []byte
	// goodbye appends the last words; after is 0 if the client should not come
	// back by itself.
	goodbye(b []byte, code schemas.CloseCode, reason string, after time.Duration) []byte
}

// Places of an entry's encoded forms.
const (
	formJSON = iota
	formProto
)

// encoder is a flusher's memory for encoding.
type encoder struct {
	spans []schemas.EncodedSpan
	ops   [][]byte
}

// form gives an entry's encoded form, which is made once and shared by all who
// receive it.
func form(e *session.Entry, place int, encode func([]byte, *schemas.Entry) []byte) []byte {
	if b := e.Wire[place].Load(); b != nil {
		return *b
	}
	b := encode(make([]byte, 0, len(e.Payload)+len(e.Binary)*4/3+len(e.ThirdMsgID)+64), &e.Entry)
	e.Wire[place].Store(&b)
	return b
}

// appendJSONOp appends an entry as a member of an event's "op".
func appendJSONOp(b []byte, e *schemas.Entry) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, e.OplogID, 10)
	b = append(b, `,"thirdMsgId":`...)
	b = segjson.AppendEscape(b, e.ThirdMsgID, 0)
	b = append(b, `,"pl":`...)
	if len(e.Binary) == 0 {
		b = segjson.AppendEscape(b, e.Payload, 0)
		return append(b, '}')
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, e.Binary)
	return append(b, `","isB":true}`...)
}

// sse is the wire of Server-Sent Events.
type sse struct {
	tag    string // of the resume cursor
	header []byte // of the response, where it is ours to write
}

func (*sse) name() string                     { return transportSSE }
func (*sse) speaks() bool                     { return false }
func (*sse) interval(c *Config) time.Duration { return c.KeepAlive }
func (w *sse) open(b []byte) []byte {
	b = append(b, w.header...)
	w.header = nil
	return append(b, ":ok\n\n"...)
}

func (*sse) greet(*client, string) []byte { return nil }

func (w *sse) spans(b []byte, s *session.Session, spans []session.Span, _ *encoder) []byte {
	for i := range spans {
		// A business that comes later in this write is not in the client's
		// hands yet when it has read only this event.
		b = append(b, "id: "...)
		b = appendCursor(b, w.tag, s, spans[i:])
		b = append(b, "\nevent: sync\ndata: "...)
		b = appendEvent(b, &spans[i])
		b = append(b, "\n\n"...)
	}
	return b
}

func appendEvent(b []byte, span *session.Span) []byte {
	b = append(b, `{"bizType":`...)
	b = segjson.AppendEscape(b, span.BizType, 0)
	b = append(b, `,"from":`...)
	b = strconv.AppendInt(b, span.From, 10)
	b = append(b, `,"to":`...)
	b = strconv.AppendInt(b, span.To, 10)
	if span.Rewind > 0 {
		b = append(b, `,"rewind":`...)
		b = strconv.AppendInt(b, span.Rewind, 10)
	}
	b = append(b, `,"op":[`...)
	for i, e := range span.Entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, form(e, formJSON, appendJSONOp)...)
	}
	return append(b, "]}"...)
}

func (*sse) keepAlive(b []byte) []byte { return append(b, ":\n\n"...) }

// notice tells that the user was unbound. What else there is to say, an SSE
// client learns from the answer to its ack.
func (*sse) notice(b []byte, n *schemas.Notice) []byte {
	if n.Code != schemas.NoticeUserEnded {
		return b
	}
	b = append(b, "event: unbound\ndata: {\"reason\":"...)
	b = segjson.AppendEscape(b, n.Text, 0)
	return append(b, "}\n\n"...)
}

func (*sse) goodbye(b []byte, code schemas.CloseCode, reason string, after time.Duration) []byte {
	data, err := json.Marshal(struct {
		Code   schemas.CloseCode `json:"code"`
		Reason string            `json:"reason"`
		Retry  bool              `json:"retry"`
	}{code, reason, after > 0})
	if err != nil {
		panic(err) // numbers and strings
	}
	b = append(b, "event: close\n"...)
	if after > 0 {
		b = append(b, "retry: "...)
		b = strconv.AppendInt(b, after.Milliseconds(), 10)
		b = append(b, '\n')
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, "\n\n"...)
}

// native is the wire of the framed protocol; put appends one frame as its
// transport carries it.
type native struct {
	transport string
	put       func(b []byte, frame func([]byte) []byte) []byte
}

func (n *native) name() string                     { return n.transport }
func (n *native) speaks() bool                     { return true }
func (n *native) interval(c *Config) time.Duration { return c.Heartbeat }
func (n *native) open(b []byte) []byte             { return b }
func (n *native) keepAlive(b []byte) []byte        { return b }

func (n *native) frame(b []byte, f *schemas.Frame) []byte { return n.put(b, f.Append) }

func (n *native) spans(b []byte, _ *session.Session, spans []session.Span, e *encoder) []byte {
	if len(spans) == 0 {
		return b
	}
	e.spans, e.ops = e.spans[:0], e.ops[:0]
	for i := range spans {
		first := len(e.ops)
		for _, entry := range spans[i].Entries {
			e.ops = append(e.ops, form(entry, formProto, schemas.AppendOp))
		}
		e.spans = append(e.spans, schemas.EncodedSpan{
			BizType: spans[i].BizType, From: spans[i].From, To: spans[i].To, Ops: e.ops[first:], Rewind: spans[i].Rewind,
		})
	}
	return n.put(b, func(b []byte) []byte { return schemas.AppendSpans(b, e.spans) })
}

func (n *native) notice(b []byte, notice *schemas.Notice) []byte {
	return n.frame(b, &schemas.Frame{Notice: notice})
}

func (n *native) goodbye(b []byte, code schemas.CloseCode, reason string, after time.Duration) []byte {
	b = n.frame(b, &schemas.Frame{Close: &schemas.Close{Code: code, Reason: reason, RetryAfterMillis: after.Milliseconds()}})
	if n.transport == transportWS {
		b = appendWSClose(b, code, reason)
	}
	return b
}
