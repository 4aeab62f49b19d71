package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node/embedded/internal/anyreq"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pipes is a listener of connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	fail   chan error
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{}), fail: make(chan error, 1)}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case err := <-p.fail:
		return nil, err
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092} }

// dial makes a connection; the second end is the guarded one.
func (p *pipes) dial(t *testing.T, l *Listener) (client, broker net.Conn) {
	t.Helper()
	client, far := net.Pipe()
	go func() { p.conns <- far }()
	broker, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, broker
}

func guarded(log io.Writer) (*pipes, *Listener) {
	ready := make(chan struct{})
	close(ready)
	p := newPipes()
	return p, New(p, slog.New(slog.NewTextHandler(log, nil)), ready)
}

// through sends bytes to a guarded connection and reads what the broker would
// see, up to n bytes.
func through(t *testing.T, sent []byte, n int) (got []byte, log string, err error) {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		p, l := guarded(&out)
		client, broker := p.dial(t, l)
		go func() {
			_, _ = client.Write(sent)
		}()
		got = make([]byte, n)
		var m int
		m, err = io.ReadFull(broker, got)
		got = got[:m]
		broker.Close()
		client.Close()
		l.Close()
		l.Wait()
	})
	return got, out.String(), err
}

func request(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return anyreq.Frame(req, 7, "client")
}

func TestGarbageIsCutOff(t *testing.T) {
	head := func(size uint32, key, version uint16) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint16(b, key)
		b = binary.BigEndian.AppendUint16(b, version)
		return append(b, make([]byte, 64)...)
	}
	tags := request(kmsg.NewPtrMetadataRequest(), 12)
	tags[len(tags)-1] = 17 // one over the limit
	bomb := append(request(kmsg.NewPtrMetadataRequest(), 12)[:len(tags)-1], 0xff, 0xff, 0xff, 0xff, 0x0f)
	binary.BigEndian.PutUint32(bomb, uint32(len(bomb)-4))
	many := kmsg.NewPtrDescribeGroupsRequest()
	many.Groups = make([]string, MaxElements+1)
	for name, c := range map[string]struct {
		sent []byte
		says string
	}{
		"HTTP":            {[]byte("GET / HTTP/1.1\r\nHost: localhost:9092\r\n\r\n"), "speaks HTTP"},
		"TLS":             {append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc}, make([]byte, 60)...), "speaks TLS"},
		"unknown key":     {head(64, 999, 0), "API key 999"},
		"transactions":    {head(64, 24, 0), "API key 24"},
		"newer version":   {head(64, 3, 99), "Metadata version 99"},
		"older version":   {head(64, 0, 0), "Produce version 0"},
		"minus version":   {head(64, 3, 0xffff), "Metadata version -1"},
		"too large":       {head(MaxOtherBytes+1, 3, 0), "over the limit"},
		"produce too big": {head(MaxFrameBytes+1, 0, 9), "over the limit"},
		"minus length":    {head(0xffffffff, 3, 0), "over the limit"},
		"too short":       {head(7, 3, 0), "too short"},
		"array count":     {append(head(18, 3, 0)[:12], 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0), "malformed Metadata"},
		"tags":            {tags, "17 tags"},
		"tag bomb":        {bomb, "4294967295 tags"},
		"elements":        {request(many, 0), "array elements"},
		"only brokers":    {request(follower(), 15), "which only brokers send"},
	} {
		got, log, err := through(t, c.sent, 1)
		if err == nil || len(got) > 0 {
			t.Errorf("%s: the broker saw %q", name, got)
		}
		if !strings.Contains(log, c.says) {
			t.Errorf("%s: the log says %q", name, log)
		}
	}
}

func follower() kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaState.ID = 3
	return req
}

func TestRequestsPassUnchanged(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range shapes {
		s := &shapes[i]
		if s.key == keyProduce || s.key == keyFetch || s.key == 16 {
			continue
		}
		frame := anyreq.Frame(anyreq.Make(r, s.key, s.max, anyreq.Pool{}), 7, "client")
		got, log, err := through(t, frame, len(frame))
		if err != nil || !bytes.Equal(got, frame) {
			t.Errorf("%s: sent %q, the broker saw %q (%v) %s", s.name, frame, got, err, log)
		}
	}
}

func TestFetchesLoseTheirSessionAndAreCapped(t *testing.T) {
	for version := int16(4); version <= 18; version++ {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionID, req.SessionEpoch, req.Rack = 1<<31-1, 12, 34, "r"
		frame := request(req, version)
		req.MaxBytes = MaxFetchBytes
		if version >= 7 {
			req.SessionID, req.SessionEpoch = 0, -1
		}
		want := request(req, version)
		if got, _, err := through(t, frame, len(frame)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("version %d: the broker saw %q, want %q (%v)", version, got, want, err)
		}
	}
}

func TestGroupTypesAreLowered(t *testing.T) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = []string{"Empty"}, []string{"Classic", "CONSUMER"}
	frame := request(req, 5)
	req.TypesFilter = []string{"classic", "consumer"}
	want := request(req, 5)
	if got, _, err := through(t, frame, len(frame)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the broker saw %q, want %q (%v)", got, want, err)
	}
}

func TestNewerApiVersionsAreCutDown(t *testing.T) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName = strings.Repeat("x", 200)
	frame := request(req, 5)
	binary.BigEndian.PutUint16(frame[frameVer:], 99)
	want := newerVersions(frame, 99)
	got, _, err := through(t, frame, len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the broker saw %q, want %q (%v)", got, want, err)
	}
	var seen kmsg.ApiVersionsRequest
	seen.Version = 99
	if err := seen.ReadFrom(got[frameClient+3:]); err != nil {
		t.Errorf("the decoder says %v", err)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := guarded(io.Discard)
		for _, c := range []struct {
			sent string
			wait time.Duration
		}{{"", idleTimeout}, {"\x00\x00\x01", frameTimeout}, {"\x00\x00\x01\x00\x00\x03\x00\x00\x00\x00\x00\x01", frameTimeout}} {
			client, broker := p.dial(t, l)
			go func() { _, _ = client.Write([]byte(c.sent)) }()
			began := time.Now()
			_, err := broker.Read(make([]byte, 4))
			if err == nil || time.Since(began) != c.wait {
				t.Errorf("after %q: %v, %v", c.sent, time.Since(began), err)
			}
			broker.Close()
			client.Close()
		}
		client, broker := p.dial(t, l)
		if _, err := broker.Write(make([]byte, 100)); err == nil {
			t.Error("an answer that nobody reads was written")
		}
		broker.Close()
		client.Close()
		if n := l.Open(); n != 0 {
			t.Errorf("%d connections are still open", n)
		}
		l.Close()
	})
}

func TestLargeFramesShareTheirBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := guarded(io.Discard)
		var clients, brokers []net.Conn
		holding := func() (n int) {
			for _, b := range brokers {
				if s := &b.(*conn).shares; s.held > 0 && !s.closed {
					n++
				}
			}
			return n
		}
		for range 4 { // three times 80 MiB fit
			client, broker := p.dial(t, l)
			clients, brokers = append(clients, client), append(brokers, broker)
			go func() {
				_, _ = client.Write(binary.BigEndian.AppendUint32(nil, 80<<20))
				_, _ = client.Write([]byte{0, 0, 0, 9, 0, 0, 0, 1})
			}()
			go func() { _, _ = broker.Read(make([]byte, 4)) }()
			synctest.Wait()
		}
		if got := holding(); got != 3 {
			t.Errorf("%d of four frames are being read", got)
		}
		for _, b := range brokers[:2] {
			b.Close()
		}
		synctest.Wait() // the fourth has its share now
		if got := holding(); got != 2 {
			t.Errorf("%d of two frames are being read", got)
		}
		for i := range clients {
			clients[i].Close()
			brokers[i].Close()
		}
		l.Close()
		synctest.Wait()
		if !l.frames.TryAcquire(MaxInFlightBytes) {
			t.Error("some of the budget is gone")
		}
	})
}

// TestSharesWaitForAnswers: a frame counts until it is answered, and one that
// nobody answers until it has been handed on.
func TestSharesWaitForAnswers(t *testing.T) {
	large := func(acks int16, size int) []byte {
		req := kmsg.NewPtrProduceRequest()
		req.Acks = acks
		topic := kmsg.NewProduceRequestTopic()
		topic.Partitions = []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, size)}}
		req.Topics = append(req.Topics, topic)
		return request(req, 9)
	}
	synctest.Test(t, func(t *testing.T) {
		p, l := guarded(io.Discard)
		client, broker := p.dial(t, l)
		c := broker.(*conn)
		hand := func(frame []byte) error {
			go func() { _, _ = client.Write(frame) }()
			_, err := io.ReadFull(broker, make([]byte, len(frame)))
			return err
		}
		held := func(want int64) {
			t.Helper()
			if c.shares.held != want {
				t.Errorf("held are %d bytes, want %d", c.shares.held, want)
			}
		}
		one, two := large(-1, 100<<10), large(1, 200<<10)
		small := large(-1, 10)
		for _, frame := range [][]byte{one, small, two} {
			if err := hand(frame); err != nil {
				t.Fatal(err)
			}
		}
		held(int64(len(one) + len(two)))
		go func() { _, _ = io.Copy(io.Discard, client) }()
		for _, want := range []int64{int64(len(two)), int64(len(two)), 0, 0} {
			if _, err := broker.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			held(want)
		}
		if err := hand(large(0, 300<<10)); err != nil {
			t.Fatal(err)
		}
		if err := hand(small); err != nil {
			t.Fatal(err)
		}
		held(0)
		if err := hand(large(0, MaxOtherBytes)); err == nil {
			t.Error("a large frame that wants no answer was let through")
		}
		broker.Close()
		client.Close()
		l.Close()
	})
}

func TestTooManyConnections(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		p, l := guarded(&log)
		var open []net.Conn
		for range MaxConns {
			client, broker := p.dial(t, l)
			open = append(open, client, broker)
		}
		if got := l.fetchCap(); got != minFetchBytes {
			t.Errorf("with all connections open a fetch may answer %d bytes", got)
		}
		client, far := net.Pipe()
		p2 := make(chan error)
		go func() { _, err := l.Accept(); p2 <- err }()
		p.conns <- far
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("one connection too many: %v", err)
		}
		l.Close()
		if err := <-p2; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept on a closed listener: %v", err)
		}
		for _, c := range open {
			c.Close()
		}
		l.Wait()
	})
	if !strings.Contains(log.String(), "too many connections") {
		t.Errorf("the log says %q", &log)
	}
}

func TestPassingFailuresOfAcceptAreWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := guarded(io.Discard)
		p.fail <- errors.New("too many open files")
		client, broker := p.dial(t, l)
		client.Close()
		broker.Close()
		l.Close()
	})
}

func TestNobodyEntersBeforeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := make(chan struct{})
		p := newPipes()
		l := New(p, slog.New(slog.DiscardHandler), ready)
		accepted := make(chan net.Conn, 1)
		go func() {
			c, _ := l.Accept()
			accepted <- c
		}()
		client, far := net.Pipe()
		go func() { p.conns <- far }()
		synctest.Wait()
		if len(accepted) > 0 {
			t.Error("a connection was handed out before ready")
		}
		close(ready)
		c := <-accepted
		c.Close()
		client.Close()
		l.Close()
	})
}

func TestProducersAreCounted(t *testing.T) {
	_, l := guarded(io.Discard)
	for id := range int64(MaxProducers) {
		if !l.admitProducer(id) {
			t.Fatalf("producer %d was refused", id)
		}
	}
	if l.admitProducer(MaxProducers) {
		t.Error("one too many was admitted")
	}
	if !l.admitProducer(0) {
		t.Error("a known one was refused")
	}
}
