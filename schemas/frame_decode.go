package schemas

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrFrameSize says that a frame is over its limit.
var ErrFrameSize = errors.New("frame is over its limit")

// FrameLengthBytes is the size of the length before every frame on TCP.
const FrameLengthBytes = 4

// AppendFramed appends the frame as TCP carries it, its length first.
func (f *Frame) AppendFramed(b []byte) []byte {
	at := len(b)
	b = f.Append(append(b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-FrameLengthBytes))
	return b
}

// NextFrame splits the first whole frame off a stream. size is its length, as
// far as that is known (0: not yet); body is nil until all of it is there. A
// length over limit is [ErrFrameSize].
func NextFrame(stream []byte, limit int) (body, rest []byte, size int, err error) {
	if len(stream) < FrameLengthBytes {
		return nil, stream, 0, nil
	}
	n := binary.BigEndian.Uint32(stream)
	if uint64(n) > uint64(limit) {
		return nil, stream, 0, fmt.Errorf("frame of %d bytes, at most %d: %w", n, limit, ErrFrameSize)
	}
	size = int(n)
	if len(stream) < FrameLengthBytes+size {
		return nil, stream, size, nil
	}
	return stream[FrameLengthBytes : FrameLengthBytes+size : FrameLengthBytes+size], stream[FrameLengthBytes+size:], size, nil
}

// Decode reads a frame. Strings and bytes alias b. Of repeated bodies the last
// counts, as protobuf has it for a oneof.
func (f *Frame) Decode(b []byte) error {
	*f = Frame{}
	if err := eachField(b, f.set); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

func (f *Frame) set(x field) error {
	if x.num < kindHello || x.num > kindNotice {
		return nil
	}
	if x.typ != protowire.BytesType {
		return fmt.Errorf("frame body %d: wrong wire type %d", x.num, x.typ)
	}
	*f = Frame{}
	switch x.num {
	case kindHello:
		f.Hello = new(Hello)
		return eachField(x.data, f.Hello.set)
	case kindWelcome:
		f.Welcome = new(Welcome)
		return eachField(x.data, f.Welcome.set)
	case kindBatch:
		f.Batch = new(Batch)
		return eachField(x.data, f.Batch.set)
	case kindAcks:
		f.Acks = new(Acks)
		return eachField(x.data, func(x field) error { return setAck(x, 1, &f.Acks.Acks) })
	case kindPing:
		f.Ping = new(Ping)
		return eachField(x.data, f.Ping.set)
	case kindPong:
		f.Pong = new(Pong)
		return eachField(x.data, f.Pong.set)
	case kindClose:
		f.Close = new(Close)
		return eachField(x.data, f.Close.set)
	case kindRegister:
		f.Register = new(Register)
		return eachField(x.data, func(x field) error { return setInterest(x, 1, &f.Register.Biz) })
	}
	return f.setRest(x)
}

func (f *Frame) setRest(x field) error {
	switch x.num {
	case kindUnregister:
		f.Unregister = new(Unregister)
		return eachField(x.data, f.Unregister.set)
	case kindBind:
		f.Bind = new(Bind)
		return eachField(x.data, f.Bind.set)
	case kindUnbind:
		f.Unbind = new(Unbind)
	case kindForeground:
		f.Foreground = new(Foreground)
	case kindBackground:
		f.Background = new(Background)
	case kindMove:
		f.Move = new(Move)
		return eachField(x.data, f.Move.set)
	case kindNotice:
		f.Notice = new(Notice)
		return eachField(x.data, f.Notice.set)
	}
	return nil
}

// nested checks that a field holds a message.
func (x field) nested(name string) error {
	if x.typ != protowire.BytesType {
		return fmt.Errorf("field %s: wrong wire type %d", name, x.typ)
	}
	return nil
}

func (h *Hello) set(x field) error {
	switch x.num {
	case 1:
		return x.int("version", &h.Version)
	case 2:
		return x.text("instance_id", &h.InstanceID)
	case 3:
		return x.text("client_key", &h.ClientKey)
	case 4:
		return x.text("device_id", &h.DeviceID)
	case 5:
		return x.text("device_credential", &h.DeviceCredential)
	case 6:
		return x.text("user_id", &h.UserID)
	case 7:
		return x.text("session_id", &h.SessionID)
	case 8:
		return x.text("os", &h.OS)
	case 9:
		return x.text("app_version", &h.AppVersion)
	case 10:
		return setInterest(x, 10, &h.Biz)
	case 11:
		return x.int("window_entries", &h.WindowEntries)
	case 12:
		return x.int("window_bytes", &h.WindowBytes)
	case 13:
		return x.bool("background", &h.Background)
	}
	return nil
}

// setInterest reads an element of a list of interests that is field num. The
// list's length is bounded here: a small frame must not make a large one.
func setInterest(x field, num protowire.Number, to *[]Interest) error {
	if x.num != num {
		return nil
	}
	if err := x.nested("biz"); err != nil {
		return err
	}
	if len(*to) == MaxInterests {
		return fmt.Errorf("field biz: more than %d businesses", MaxInterests)
	}
	var i Interest
	err := eachField(x.data, func(x field) error {
		switch x.num {
		case 1:
			return x.text("biz_type", &i.BizType)
		case 2:
			return x.int("point", &i.Point)
		case 3:
			return x.bool("known", &i.Known)
		case 4:
			return x.int("rewind", &i.Rewind)
		}
		return nil
	})
	*to = append(*to, i)
	return err
}

func (w *Welcome) set(x field) error {
	switch x.num {
	case 1:
		return x.text("session", &w.Session)
	case 2:
		return x.int("heartbeat_millis", &w.HeartbeatMillis)
	case 3:
		return x.int("window_entries", &w.WindowEntries)
	case 4:
		return x.int("window_bytes", &w.WindowBytes)
	case 5:
		return x.int("time", &w.Time)
	case 6:
		return x.text("device_credential", &w.DeviceCredential)
	case 7:
		return setStanding(x, &w.Biz)
	}
	return nil
}

func setStanding(x field, to *[]Standing) error {
	if err := x.nested("biz"); err != nil {
		return err
	}
	if len(*to) == MaxInterests {
		return fmt.Errorf("field biz: more than %d businesses", MaxInterests)
	}
	var s Standing
	err := eachField(x.data, func(x field) error {
		switch x.num {
		case 1:
			return x.text("biz_type", &s.BizType)
		case 2:
			return x.int("from", &s.From)
		case 3:
			return x.int("head", &s.Head)
		case 4:
			return x.bool("unknown", &s.Unknown)
		}
		return nil
	})
	*to = append(*to, s)
	return err
}

func (t *Batch) set(x field) error {
	if x.num != 1 {
		return nil
	}
	if err := x.nested("span"); err != nil {
		return err
	}
	var s Span
	err := eachField(x.data, s.set)
	t.Spans = append(t.Spans, s)
	return err
}

func (s *Span) set(x field) error {
	switch x.num {
	case 1:
		return x.text("biz_type", &s.BizType)
	case 2:
		return x.int("from", &s.From)
	case 3:
		return x.int("to", &s.To)
	case 4:
		if err := x.nested("op"); err != nil {
			return err
		}
		var o Op
		err := eachField(x.data, o.set)
		s.Ops = append(s.Ops, o)
		return err
	case 5:
		return x.int("rewind", &s.Rewind)
	}
	return nil
}

func (o *Op) set(x field) error {
	switch x.num {
	case 1:
		return x.int("id", &o.ID)
	case 2:
		return x.text("third_msg_id", &o.ThirdMsgID)
	case 3:
		return x.text("pl", &o.Payload)
	case 4:
		return x.bytes("bin", &o.Binary)
	}
	return nil
}

// setAck reads an element of a list of acks that is field num.
func setAck(x field, num protowire.Number, to *[]AckTo) error {
	if x.num != num {
		return nil
	}
	if err := x.nested("ack"); err != nil {
		return err
	}
	if len(*to) == MaxInterests {
		return fmt.Errorf("field ack: more than %d businesses", MaxInterests)
	}
	var a AckTo
	err := eachField(x.data, func(x field) error {
		switch x.num {
		case 1:
			return x.text("biz_type", &a.BizType)
		case 2:
			return x.int("to", &a.To)
		case 3:
			return x.int("rewind", &a.Rewind)
		}
		return nil
	})
	*to = append(*to, a)
	return err
}

func (p *Ping) set(x field) error {
	if x.num == 2 {
		return x.int("time", &p.Time)
	}
	return setAck(x, 1, &p.Acks)
}

func (p *Pong) set(x field) error {
	switch x.num {
	case 1:
		return x.int("time", &p.Time)
	case 2:
		return setStanding(x, &p.Biz)
	}
	return nil
}

func (c *Close) set(x field) error {
	switch x.num {
	case 1:
		var code int64
		err := x.int("code", &code)
		c.Code = CloseCode(code)
		return err
	case 2:
		return x.text("reason", &c.Reason)
	case 3:
		return x.int("retry_after_millis", &c.RetryAfterMillis)
	}
	return nil
}

func (u *Unregister) set(x field) error {
	if x.num != 1 {
		return nil
	}
	if len(u.BizTypes) == MaxInterests {
		return fmt.Errorf("field biz_type: more than %d businesses", MaxInterests)
	}
	var biz string
	err := x.text("biz_type", &biz)
	u.BizTypes = append(u.BizTypes, biz)
	return err
}

func (d *Bind) set(x field) error {
	switch x.num {
	case 1:
		return x.text("user_id", &d.UserID)
	case 2:
		return x.text("session_id", &d.SessionID)
	}
	return setInterest(x, 3, &d.Biz)
}

func (m *Move) set(x field) error {
	switch x.num {
	case 1:
		return x.int("after_millis", &m.AfterMillis)
	case 2:
		return x.text("address", &m.Address)
	case 3:
		return x.text("reason", &m.Reason)
	}
	return nil
}

func (n *Notice) set(x field) error {
	switch x.num {
	case 1:
		var code int64
		err := x.int("code", &code)
		n.Code = NoticeCode(code)
		return err
	case 2:
		return x.text("biz_type", &n.BizType)
	case 3:
		return x.int("id", &n.ID)
	case 4:
		return x.text("text", &n.Text)
	}
	return nil
}
