package schemas

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// frameKind numbers the bodies of a [Frame], as in session.proto.
type frameKind = protowire.Number

const (
	kindHello frameKind = iota + 1
	kindWelcome
	kindBatch
	kindAcks
	kindPing
	kindPong
	kindClose
	kindRegister
	kindUnregister
	kindBind
	kindUnbind
	kindForeground
	kindBackground
	kindMove
	kindNotice
)

// Append appends the frame's protobuf form.
func (f *Frame) Append(b []byte) []byte {
	switch {
	case f.Hello != nil:
		return appendBody(b, kindHello, f.Hello.append)
	case f.Welcome != nil:
		return appendBody(b, kindWelcome, f.Welcome.append)
	case f.Batch != nil:
		return appendBody(b, kindBatch, f.Batch.append)
	case f.Acks != nil:
		return appendBody(b, kindAcks, f.Acks.append)
	case f.Ping != nil:
		return appendBody(b, kindPing, f.Ping.append)
	case f.Pong != nil:
		return appendBody(b, kindPong, f.Pong.append)
	case f.Close != nil:
		return appendBody(b, kindClose, f.Close.append)
	case f.Register != nil:
		return appendBody(b, kindRegister, f.Register.append)
	case f.Unregister != nil:
		return appendBody(b, kindUnregister, f.Unregister.append)
	case f.Bind != nil:
		return appendBody(b, kindBind, f.Bind.append)
	case f.Unbind != nil:
		return appendBody(b, kindUnbind, appendNothing)
	case f.Foreground != nil:
		return appendBody(b, kindForeground, appendNothing)
	case f.Background != nil:
		return appendBody(b, kindBackground, appendNothing)
	case f.Move != nil:
		return appendBody(b, kindMove, f.Move.append)
	case f.Notice != nil:
		return appendBody(b, kindNotice, f.Notice.append)
	}
	return b
}

// appendBody appends a nested message whose length is not known beforehand.
func appendBody(b []byte, num protowire.Number, body func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	at := len(b)
	b = body(b)
	return insertLength(b, at)
}

// insertLength puts the length of b[at:] before it.
func insertLength(b []byte, at int) []byte {
	n := len(b) - at
	var room [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(room[:], uint64(n))
	b = append(b, room[:size]...)
	copy(b[at+size:], b[at:at+n])
	copy(b[at:], room[:size])
	return b
}

func appendNothing(b []byte) []byte { return b }

func (h *Hello) append(b []byte) []byte {
	b = appendInt(b, 1, h.Version)
	b = appendString(b, 2, h.InstanceID)
	b = appendString(b, 3, h.ClientKey)
	b = appendString(b, 4, h.DeviceID)
	b = appendString(b, 5, h.DeviceCredential)
	b = appendString(b, 6, h.UserID)
	b = appendString(b, 7, h.SessionID)
	b = appendString(b, 8, h.OS)
	b = appendString(b, 9, h.AppVersion)
	b = appendInterests(b, 10, h.Biz)
	b = appendInt(b, 11, h.WindowEntries)
	b = appendInt(b, 12, h.WindowBytes)
	return appendBool(b, 13, h.Background)
}

func appendInterests(b []byte, num protowire.Number, all []Interest) []byte {
	for i := range all {
		b = appendBody(b, num, all[i].append)
	}
	return b
}

func (i *Interest) append(b []byte) []byte {
	b = appendString(b, 1, i.BizType)
	b = appendInt(b, 2, i.Point)
	b = appendBool(b, 3, i.Known)
	return appendInt(b, 4, i.Rewind)
}

func (w *Welcome) append(b []byte) []byte {
	b = appendString(b, 1, w.Session)
	b = appendInt(b, 2, w.HeartbeatMillis)
	b = appendInt(b, 3, w.WindowEntries)
	b = appendInt(b, 4, w.WindowBytes)
	b = appendInt(b, 5, w.Time)
	b = appendString(b, 6, w.DeviceCredential)
	return appendStandings(b, 7, w.Biz)
}

func appendStandings(b []byte, num protowire.Number, all []Standing) []byte {
	for i := range all {
		b = appendBody(b, num, all[i].append)
	}
	return b
}

func (s *Standing) append(b []byte) []byte {
	b = appendString(b, 1, s.BizType)
	b = appendInt(b, 2, s.From)
	b = appendInt(b, 3, s.Head)
	return appendBool(b, 4, s.Unknown)
}

func (t *Batch) append(b []byte) []byte {
	for i := range t.Spans {
		b = appendBody(b, 1, t.Spans[i].append)
	}
	return b
}

func (s *Span) append(b []byte) []byte {
	b = appendString(b, 1, s.BizType)
	b = appendInt(b, 2, s.From)
	b = appendInt(b, 3, s.To)
	for i := range s.Ops {
		o := &s.Ops[i]
		b = appendOp(b, o.ID, o.ThirdMsgID, o.Payload, o.Binary)
	}
	return appendInt(b, 5, s.Rewind)
}

// AppendOp appends an entry as an op field of a span, tag and length included.
// The bytes are the same for every session, so they are made once and shared;
// [AppendSpans] puts them together.
func AppendOp(b []byte, e *Entry) []byte {
	return appendOp(b, e.OplogID, e.ThirdMsgID, e.Payload, e.Binary)
}

func appendOp(b []byte, id int64, thirdMsgID, payload string, bin []byte) []byte {
	return appendBody(b, 4, func(b []byte) []byte {
		b = appendInt(b, 1, id)
		b = appendString(b, 2, thirdMsgID)
		b = appendString(b, 3, payload)
		return appendBytes(b, 4, bin)
	})
}

// EncodedSpan is a [Span] whose ops are already encoded by [AppendOp].
type EncodedSpan struct {
	BizType  string
	From, To int64
	Ops      [][]byte
	Rewind   int64
}

// AppendSpans appends a batch frame made of encoded spans.
func AppendSpans(b []byte, spans []EncodedSpan) []byte {
	return appendBody(b, kindBatch, func(b []byte) []byte {
		for i := range spans {
			b = appendBody(b, 1, spans[i].append)
		}
		return b
	})
}

func (s *EncodedSpan) append(b []byte) []byte {
	b = appendString(b, 1, s.BizType)
	b = appendInt(b, 2, s.From)
	b = appendInt(b, 3, s.To)
	for _, op := range s.Ops {
		b = append(b, op...)
	}
	return appendInt(b, 5, s.Rewind)
}

func (a *Acks) append(b []byte) []byte { return appendAcks(b, 1, a.Acks) }

func appendAcks(b []byte, num protowire.Number, all []AckTo) []byte {
	for i := range all {
		b = appendBody(b, num, all[i].append)
	}
	return b
}

func (a *AckTo) append(b []byte) []byte {
	b = appendString(b, 1, a.BizType)
	b = appendInt(b, 2, a.To)
	return appendInt(b, 3, a.Rewind)
}

func (p *Ping) append(b []byte) []byte {
	b = appendAcks(b, 1, p.Acks)
	return appendInt(b, 2, p.Time)
}

func (p *Pong) append(b []byte) []byte {
	b = appendInt(b, 1, p.Time)
	return appendStandings(b, 2, p.Biz)
}

func (c *Close) append(b []byte) []byte {
	b = appendInt(b, 1, int64(c.Code))
	b = appendString(b, 2, c.Reason)
	return appendInt(b, 3, c.RetryAfterMillis)
}

func (r *Register) append(b []byte) []byte { return appendInterests(b, 1, r.Biz) }

func (u *Unregister) append(b []byte) []byte {
	for _, biz := range u.BizTypes {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, biz)
	}
	return b
}

func (d *Bind) append(b []byte) []byte {
	b = appendString(b, 1, d.UserID)
	b = appendString(b, 2, d.SessionID)
	return appendInterests(b, 3, d.Biz)
}

func (m *Move) append(b []byte) []byte {
	b = appendInt(b, 1, m.AfterMillis)
	b = appendString(b, 2, m.Address)
	return appendString(b, 3, m.Reason)
}

func (n *Notice) append(b []byte) []byte {
	b = appendInt(b, 1, int64(n.Code))
	b = appendString(b, 2, n.BizType)
	b = appendInt(b, 3, n.ID)
	return appendString(b, 4, n.Text)
}
