package edge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidemarkio/tidemark/schemas"
)

// device is a native client: frames in, frames out. Its WebSocket side is
// another library's.
type device struct {
	t      testing.TB
	settle func() // waits until the edge has what was pushed
	send   func([]byte) error
	frames chan schemas.Frame
	err    error // why frames ended; read after they have
	close  func()
}

func newDevice(h *house, send func([]byte) error, receive func() ([]byte, error), closeIt func()) *device {
	t := h.t
	d := &device{t: t, settle: h.task.settle, send: send, frames: make(chan schemas.Frame, 10_000), close: closeIt}
	go func() {
		defer close(d.frames)
		for {
			b, err := receive()
			if err != nil {
				d.err = err
				return
			}
			var f schemas.Frame
			if err := f.Decode(b); err != nil {
				d.err = err
				return
			}
			d.frames <- f
		}
	}()
	t.Cleanup(closeIt)
	return d
}

func (h *house) ws() *device {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c, res, err := websocket.Dial(ctx, h.http.URL+"/sync/ws", &websocket.DialOptions{Subprotocols: []string{schemas.SessionName}})
	if err != nil {
		cancel()
		h.t.Fatal(err, res)
	}
	if c.Subprotocol() != schemas.SessionName {
		h.t.Errorf("subprotocol %q", c.Subprotocol())
	}
	c.SetReadLimit(schemas.MaxServerFrame)
	return newDevice(h,
		func(b []byte) error { return c.Write(ctx, websocket.MessageBinary, b) },
		func() ([]byte, error) { _, b, err := c.Read(ctx); return b, err },
		func() { _ = c.CloseNow(); cancel() })
}

func (h *house) tcp(dial func() (net.Conn, error)) *device {
	h.t.Helper()
	c, err := dial()
	if err != nil {
		h.t.Fatal(err)
	}
	var held []byte
	return newDevice(h,
		func(b []byte) error {
			head := []byte{byte(len(b) >> 24), byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}
			_, err := c.Write(append(head, b...))
			return err
		},
		func() ([]byte, error) {
			for {
				body, rest, _, err := schemas.NextFrame(held, schemas.MaxServerFrame)
				if err != nil || body != nil {
					held = rest
					return body, err
				}
				buf := make([]byte, 1000)
				n, err := c.Read(buf)
				if held = append(held, buf[:n]...); n == 0 && err != nil {
					return nil, err
				}
			}
		},
		func() { _ = c.Close() })
}

func (d *device) say(f schemas.Frame) {
	d.t.Helper()
	if f.Hello != nil || f.Bind != nil || f.Register != nil || f.Foreground != nil {
		d.settle() // or a business may come in several spans
	}
	if err := d.send(f.Append(nil)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) next() schemas.Frame {
	d.t.Helper()
	select {
	case f, ok := <-d.frames:
		if !ok {
			d.t.Fatal("the connection has ended: ", d.err)
		}
		return f
	case <-time.After(patience):
		d.t.Fatal("no frame came")
	}
	return schemas.Frame{}
}

// want waits for a frame.
func (d *device) want(want schemas.Frame) {
	d.t.Helper()
	if got := d.next(); !reflect.DeepEqual(got, want) {
		d.t.Fatalf("got  %s\nwant %s", show(got), show(want))
	}
}

func show(f schemas.Frame) string {
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			return fmt.Sprintf("%s%+v", v.Type().Field(i).Name, v.Field(i).Elem().Interface())
		}
	}
	return "nothing"
}

// ended waits for the close frame and the end of the connection.
func (d *device) ended(code schemas.CloseCode) *schemas.Close {
	d.t.Helper()
	for {
		f := d.next()
		if f.Close == nil {
			continue
		}
		if f.Close.Code != code {
			d.t.Fatalf("closed with %+v, want %d", f.Close, code)
		}
		select {
		case _, ok := <-d.frames:
			if ok {
				d.t.Fatal("a frame after the last one")
			}
		case <-time.After(patience):
			d.t.Fatal("the connection stays open after its end")
		}
		return f.Close
	}
}

func batch(spans ...schemas.Span) schemas.Frame {
	return schemas.Frame{Batch: &schemas.Batch{Spans: spans}}
}

func op(id int64, payload string) schemas.Op {
	return schemas.Op{ID: id, ThirdMsgID: fmt.Sprint("m", id), Payload: payload}
}

func helloOf(device, user string, biz ...schemas.Interest) schemas.Frame {
	return schemas.Frame{Hello: &schemas.Hello{
		Version: schemas.SessionVersion, InstanceID: instance, ClientKey: clientKey, DeviceID: device, UserID: user, Biz: biz,
	}}
}

// transports runs a test over every native transport.
func overNative(t *testing.T, tune func(*Config), test func(t *testing.T, h *house, dial func() *device)) {
	t.Run("websocket", func(t *testing.T) {
		h := newHouse(t, tune)
		test(t, h, h.ws)
	})
	t.Run("tcp", func(t *testing.T) {
		l := listen(t)
		h := newHouse(t, func(c *Config) {
			c.Native = l
			if tune != nil {
				tune(c)
			}
		})
		test(t, h, func() *device { return h.tcp(func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }) })
	})
	t.Run("tls", func(t *testing.T) {
		l := listen(t)
		server, client := certificates(t)
		h := newHouse(t, func(c *Config) {
			c.Native = tls.NewListener(l, server)
			if tune != nil {
				tune(c)
			}
		})
		test(t, h, func() *device {
			return h.tcp(func() (net.Conn, error) { return tls.Dial("tcp", l.Addr().String(), client) })
		})
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func certificates(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{schemas.SessionName}},
		&tls.Config{RootCAs: pool, NextProtos: []string{schemas.SessionName}}
}

func TestNativeSession(t *testing.T) {
	overNative(t, nil, func(t *testing.T, h *house, dial func() *device) {
		h.task.push(text("A", "u1", "a"), text("A", "u1", "b"), text("B", "u1", "c"), text("DEV", "d1", "d"), text("ALL", "", "g"))
		eventually(t, "applied", func() error {
			return errors.Join(h.server.applied("A", "u1", 2), h.server.applied("B", "u1", 1), h.server.applied("DEV", "d1", 1), h.server.globalHead("ALL", 1))
		})
		d := dial()
		d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A", Point: 1, Known: true}, schemas.Interest{BizType: "B"}, schemas.Interest{BizType: "NEW"}))
		w := d.next().Welcome
		if w == nil || w.Session == "" || w.HeartbeatMillis != 30_000 || w.WindowEntries != 10_000 || w.WindowBytes != 8<<20 || w.Time == 0 {
			t.Fatalf("welcome %+v", w)
		}
		if want := []schemas.Standing{{BizType: "A", From: 1, Head: 2}, {BizType: "B", Head: 1}, {BizType: "NEW", Unknown: true}}; !reflect.DeepEqual(w.Biz, want) {
			t.Errorf("standings %+v", w.Biz)
		}
		// One merged batch over all businesses.
		d.want(batch(schemas.Span{BizType: "A", From: 1, To: 2, Ops: []schemas.Op{op(2, "b")}},
			schemas.Span{BizType: "B", From: 0, To: 1, Ops: []schemas.Op{op(1, "c")}}))
		h.task.push(schemas.Entry{BizType: "A", LinkToken: "u1", ThirdMsgID: "bin", Binary: []byte{0, 1, 2}})
		d.want(batch(schemas.Span{BizType: "A", From: 2, To: 3, Ops: []schemas.Op{{ID: 3, ThirdMsgID: "bin", Binary: []byte{0, 1, 2}}}}))

		// Acks ride on pings; the answer says where the logs stand.
		d.say(schemas.Frame{Ping: &schemas.Ping{Time: 42, Acks: []schemas.AckTo{{BizType: "A", To: 3}}}})
		d.want(schemas.Frame{Pong: &schemas.Pong{Time: 42, Biz: []schemas.Standing{
			{BizType: "A", From: 3, Head: 3}, {BizType: "B", From: 1, Head: 1}, {BizType: "NEW", Unknown: true}}}})
		d.say(schemas.Frame{Acks: &schemas.Acks{Acks: []schemas.AckTo{{BizType: "B", To: 2}}}})
		if n := d.next().Notice; n == nil || n.Code != schemas.NoticeAckRefused || n.BizType != "B" || n.ID != 2 {
			t.Errorf("notice %+v", n)
		}

		d.say(schemas.Frame{Register: &schemas.Register{Biz: []schemas.Interest{{BizType: "DEV"}, {BizType: "ALL"}}}})
		d.want(batch(schemas.Span{BizType: "DEV", From: 0, To: 1, Ops: []schemas.Op{op(1, "d")}},
			schemas.Span{BizType: "ALL", From: 0, To: 1, Ops: []schemas.Op{op(1, "g")}}))
		d.say(schemas.Frame{Unregister: &schemas.Unregister{BizTypes: []string{"B", "NEW"}}})

		// Another user: only what is theirs, and the device's.
		h.task.push(text("A", "u2", "z"))
		eventually(t, "applied", func() error { return h.server.applied("A", "u2", 1) })
		d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u2", SessionID: "s2"}})
		got := d.next()
		if got.Batch == nil || got.Batch.Spans[0].BizType != "A" || got.Batch.Spans[0].Ops[0].Payload != "z" {
			t.Errorf("after bind: %s", show(got))
		}
		d.say(schemas.Frame{Unbind: &schemas.Unbind{}})
		d.say(schemas.Frame{Ping: &schemas.Ping{Time: 43}})
		for d.next().Pong == nil { // global entries of the other user may come before
		}
		h.task.push(text("A", "u2", "not now"), text("DEV", "d1", "device"))
		d.want(batch(schemas.Span{BizType: "DEV", From: 1, To: 2, Ops: []schemas.Op{op(2, "device")}}))
		d.say(schemas.Frame{Close: &schemas.Close{Code: schemas.CloseNormal}})
		d.ended(schemas.CloseNormal)
	})
}

func TestNativeForeground(t *testing.T) {
	overNative(t, nil, func(t *testing.T, h *house, dial func() *device) {
		d := dial()
		d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}, schemas.Interest{BizType: "ALL"}))
		d.next()
		d.say(schemas.Frame{Background: &schemas.Background{}})
		d.say(schemas.Frame{Ping: &schemas.Ping{}})
		d.next()
		h.task.push(text("A", "u1", "a"), text("ALL", "", "g"))
		eventually(t, "applied", func() error { return errors.Join(h.server.applied("A", "u1", 1), h.server.globalHead("ALL", 1)) })
		d.say(schemas.Frame{Ping: &schemas.Ping{Time: 2}})
		if f := d.next(); f.Pong == nil {
			t.Errorf("in the background came %s", show(f))
		}
		d.say(schemas.Frame{Foreground: &schemas.Foreground{}})
		d.want(batch(schemas.Span{BizType: "A", From: 0, To: 1, Ops: []schemas.Op{op(1, "a")}},
			schemas.Span{BizType: "ALL", From: 0, To: 1, Ops: []schemas.Op{op(1, "g")}}))
	})
}

func TestNativeWindow(t *testing.T) {
	h := newHouse(t, nil)
	for i := range 5 {
		h.task.push(text("A", "u1", fmt.Sprint(i)))
	}
	d := h.ws()
	f := helloOf("d1", "u1", schemas.Interest{BizType: "A"})
	f.Hello.WindowEntries = 2
	d.say(f)
	if w := d.next().Welcome; w.WindowEntries != 2 || w.WindowBytes != 8<<20 {
		t.Errorf("welcome %+v", w)
	}
	d.want(batch(schemas.Span{BizType: "A", From: 0, To: 2, Ops: []schemas.Op{op(1, "0"), op(2, "1")}}))
	d.say(schemas.Frame{Acks: &schemas.Acks{Acks: []schemas.AckTo{{BizType: "A", To: 1}}}})
	d.want(batch(schemas.Span{BizType: "A", From: 2, To: 3, Ops: []schemas.Op{op(3, "2")}}))
}

func TestNativeRefusals(t *testing.T) {
	overNative(t, func(c *Config) { c.HelloTimeout = 10 * time.Second }, func(t *testing.T, h *house, dial func() *device) {
		good := helloOf("d1", "u1", schemas.Interest{BizType: "A"})
		change := func(f func(*schemas.Hello)) schemas.Frame {
			hello := *good.Hello
			f(&hello)
			return schemas.Frame{Hello: &hello}
		}
		for _, c := range []struct {
			first  schemas.Frame
			code   schemas.CloseCode
			reason string
		}{
			{schemas.Frame{Ping: &schemas.Ping{}}, schemas.CloseProtocol, "hello"},
			{change(func(h *schemas.Hello) { h.Version = 2 }), schemas.CloseVersion, "version 2"},
			{change(func(h *schemas.Hello) { h.ClientKey = "no" }), schemas.CloseUnauthorized, "client key"},
			{change(func(h *schemas.Hello) { h.InstanceID = "no" }), schemas.CloseUnauthorized, "client key"},
			{change(func(h *schemas.Hello) { h.DeviceID = "" }), schemas.CloseBadHello, "deviceId"},
			{change(func(h *schemas.Hello) { h.AppVersion = "x" }), schemas.CloseBadHello, "appVersion"},
			{change(func(h *schemas.Hello) { h.Biz = nil }), schemas.CloseBadHello, "biz"},
			{change(func(h *schemas.Hello) { h.Biz = []schemas.Interest{{BizType: "A", Point: -1, Known: true}} }), schemas.CloseBadHello, "negative"},
			{change(func(h *schemas.Hello) { h.OS = strings.Repeat("x", 11) }), schemas.CloseBadHello, "os"},
		} {
			d := dial()
			d.say(c.first)
			if last := d.ended(c.code); !strings.Contains(last.Reason, c.reason) {
				t.Errorf("%s: %+v", show(c.first), last)
			}
		}
		d := dial()
		d.say(good)
		d.next()
		d.say(good)
		d.ended(schemas.CloseProtocol)
		d = dial()
		d.say(good)
		d.next()
		if err := d.send([]byte{0xff, 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
		d.ended(schemas.CloseProtocol)
		d = dial()
		d.say(good)
		d.next()
		if err := d.send(make([]byte, schemas.MaxClientFrame+1)); err != nil {
			t.Fatal(err)
		}
		d.ended(schemas.CloseTooLarge)
		eventually(t, "nothing is left", func() error {
			if n := h.server.Counts(); n.Connections+n.Handshakes > 0 {
				return fmt.Errorf("%+v", n)
			}
			return nil
		})
	})
}

// The same device over another transport replaces the session as well.
func TestReplacedByAnotherTransport(t *testing.T) {
	h := newHouse(t, nil)
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	d := h.ws()
	d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}))
	s.ended()
	d.next()
	h.dial("deviceId=d1 userId=u1 biz=A")
	d.ended(schemas.CloseReplaced)
}

func TestHelloMustComeInTime(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.HelloTimeout = 20 * time.Millisecond })
	d := h.ws()
	select {
	case _, ok := <-d.frames:
		for ok {
			_, ok = <-d.frames
		}
	case <-time.After(patience):
		t.Fatal("a client that says nothing stays connected")
	}
	eventually(t, "its place is free", func() error {
		if n := h.server.Counts(); n.Handshakes > 0 {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
}

func TestDeviceCredential(t *testing.T) {
	kept := map[string]string{}
	admit := func(_ context.Context, _, device, credential string) (string, error) {
		switch {
		case kept[device] == "":
			kept[device] = "issued"
			return "issued", nil
		case credential != kept[device]:
			return "", errors.New("this device id belongs to somebody else")
		}
		return "", nil
	}
	h := newHouse(t, func(c *Config) { c.AdmitDevice = admit })
	d := h.ws()
	d.say(helloOf("d1", "", schemas.Interest{BizType: "DEV"}))
	if w := d.next().Welcome; w == nil || w.DeviceCredential != "issued" {
		t.Fatalf("welcome %+v", w)
	}
	thief := h.ws()
	thief.say(helloOf("d1", "", schemas.Interest{BizType: "DEV"}))
	thief.ended(schemas.CloseDevice)
	res, cancel := h.get("/sync/stream?" + h.query("deviceId=d1 biz=DEV"))
	defer cancel()
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("a stream without the credential: %d", res.StatusCode)
	}
	s := h.dial("deviceId=d2 biz=DEV")
	if got := s.res.Header.Get(deviceCredentialHeader); got != "issued" {
		t.Errorf("issued %q", got)
	}
	again := h.ws()
	f := helloOf("d1", "", schemas.Interest{BizType: "DEV"})
	f.Hello.DeviceCredential = "issued"
	again.say(f)
	if w := again.next().Welcome; w == nil {
		t.Error("the right credential was refused")
	}
}
