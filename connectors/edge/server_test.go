package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// watcher follows the presence topic as a sync task does.
type watcher struct {
	mu       sync.Mutex
	sessions map[string]schemas.Presence // by session, dimension and target
	leases   map[int32]schemas.Presence  // by partition
	gone     int
	early    []string // sessions that came before their partition's lease
}

func (h *house) watchPresence() *watcher {
	h.t.Helper()
	w := &watcher{sessions: map[string]schemas.Presence{}, leases: map[int32]schemas.Presence{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(h.cluster.ListenAddrs()...), kgo.ConsumeTopics(h.topo.Presence.Name))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(client.Close)
	go func() {
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(r *kgo.Record) { w.take(h, r) })
		}
	}()
	return w
}

func (w *watcher) take(h *house, r *kgo.Record) {
	var p schemas.Presence
	if err := p.Decode(r.Value); err != nil || string(r.Key) != string(p.RecordKey()) {
		h.t.Errorf("presence record %x %x: %v", r.Key, r.Value, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Lease() {
		w.leases[r.Partition] = p
		return
	}
	if r.Partition != h.topo.Of(p.Target) {
		h.t.Errorf("presence of %q is in partition %d", p.Target, r.Partition)
	}
	if w.leases[r.Partition].LeaseMillis == 0 {
		w.early = append(w.early, p.Session)
	}
	key := p.Session + " " + p.Dimension + " " + p.Target
	if p.Gone {
		delete(w.sessions, key)
		w.gone++
		return
	}
	w.sessions[key] = p
}

// at lists who is online at a target, as "device businesses os version verified".
func (w *watcher) at(dimension, target string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, p := range w.sessions {
		if p.Dimension == dimension && p.Target == target && p.InstanceID == instance {
			all = append(all, fmt.Sprint(p.DeviceID, " ", strings.Join(p.Biz, ","), " ", p.OS, " ", p.AppVersion, " ", p.Verified))
		}
	}
	return all
}

func (w *watcher) want(t *testing.T, dimension, target string, want ...string) {
	t.Helper()
	eventually(t, "presence of "+target, func() error {
		if got := w.at(dimension, target); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

func TestPresence(t *testing.T) {
	h := newHouse(t, nil)
	w := h.watchPresence()
	s := h.dial("deviceId=d1 userId=u1 biz=A,B os=iOS appVersion=9.0")
	w.want(t, schemas.TargetUser, "u1", "d1 A,B iOS 9.0 false")
	w.want(t, schemas.TargetDevice, "d1", "d1 A,B iOS 9.0 false")
	d := h.ws()
	d.say(helloOf("d2", "u1", schemas.Interest{BizType: "A"}))
	w.want(t, schemas.TargetDevice, "d2", "d2 A   false")
	d.say(schemas.Frame{Register: &schemas.Register{Biz: []schemas.Interest{{BizType: "B"}}}})
	w.want(t, schemas.TargetDevice, "d2", "d2 A,B   false")
	d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u2"}})
	w.want(t, schemas.TargetUser, "u2", "d2 A,B   false")
	w.want(t, schemas.TargetUser, "u1", "d1 A,B iOS 9.0 false")
	d.say(schemas.Frame{Background: &schemas.Background{}})
	w.want(t, schemas.TargetUser, "u2")
	w.want(t, schemas.TargetDevice, "d2")
	s.close()
	w.want(t, schemas.TargetUser, "u1")
	d.say(schemas.Frame{Foreground: &schemas.Foreground{}})
	w.want(t, schemas.TargetUser, "u2", "d2 A,B   false")
	epoch := h.server.presence.epoch
	h.close()
	eventually(t, "leases are taken back", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for p, lease := range w.leases {
			if lease.LeaseMillis != 0 || lease.EdgeID != DefaultEdgeID || lease.Epoch != epoch {
				return fmt.Errorf("partition %d: %+v", p, lease)
			}
		}
		if len(w.leases) == 0 || len(w.early) > 0 {
			return fmt.Errorf("%d leases, sessions before their lease: %q", len(w.leases), w.early)
		}
		return nil
	})
}

// S003-84 to S003-89, as far as the edge has a part in it.
func TestConsistencyVerdict(t *testing.T) {
	asked := make(chan Login, 10)
	verdict := make(chan error, 10)
	h := newHouse(t, func(c *Config) {
		c.ValidateSession = func(ctx context.Context, l Login) (bool, error) {
			asked <- l
			select {
			case err := <-verdict:
				return err == nil, err
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
	})
	w := h.watchPresence()
	h.configure(schemas.SyncConfig{BizType: "SAFE", MultiDevice: true, Consistency: true})
	h.task.push(text("SAFE", "u1", "s"), text("A", "u1", "a"))
	d := h.ws()
	f := helloOf("d1", "u1", schemas.Interest{BizType: "SAFE"}, schemas.Interest{BizType: "A"})
	f.Hello.SessionID = "token"
	d.say(f)
	d.next()
	d.want(batch(schemas.Span{BizType: "A", From: 0, To: 1, Ops: []schemas.Op{op(1, "a")}}))
	if l := <-asked; l != (Login{instance, "u1", "token"}) {
		t.Errorf("asked %+v", l)
	}
	verdict <- errors.New("the tenant is down")
	d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u1", SessionID: "better"}})
	if l := <-asked; l != (Login{instance, "u1", "better"}) {
		t.Errorf("asked %+v", l)
	}
	w.want(t, schemas.TargetUser, "u1", "d1 SAFE,A   false")
	verdict <- nil
	d.want(batch(schemas.Span{BizType: "SAFE", From: 0, To: 1, Ops: []schemas.Op{op(1, "s")}}))
	w.want(t, schemas.TargetUser, "u1", "d1 SAFE,A   true")
}

// A verdict that comes for a login that is over does not count.
func TestVerdictOfAFormerLogin(t *testing.T) {
	release := map[string]chan bool{"one": make(chan bool), "two": make(chan bool)}
	h := newHouse(t, func(c *Config) {
		c.ValidateSession = func(_ context.Context, l Login) (bool, error) { return <-release[l.SessionID], nil }
	})
	h.configure(schemas.SyncConfig{BizType: "SAFE", MultiDevice: true, Consistency: true})
	d := h.ws()
	f := helloOf("d1", "u1", schemas.Interest{BizType: "SAFE"})
	f.Hello.SessionID = "one"
	d.say(f)
	d.next()
	d.say(schemas.Frame{Bind: &schemas.Bind{UserID: "u1", SessionID: "two"}})
	release["two"] <- false
	release["one"] <- true
	d.say(schemas.Frame{Ping: &schemas.Ping{}})
	d.next()
	if st, err := h.server.Target(instance, schemas.TargetUser, "u1"); err != nil || st.Sessions[0].Verified {
		t.Errorf("%+v, %v", st, err)
	}
}

// stalling is how many entries of 4,000 bytes are more than the sockets of a
// client that does not read can take.
const stalling = 300

// A client that does not read costs little, and gets everything later.
func TestStalledClientCatchesUp(t *testing.T) {
	h := newHouse(t, nil)
	conn := h.rawStream("deviceId=slow userId=u1 biz=A")
	var all []schemas.Entry
	for range stalling {
		all = append(all, text("A", "u1", strings.Repeat("x", 4000)))
	}
	h.task.push(all...)
	eventually(t, "the client's socket is full", func() error {
		st, err := h.server.Target(instance, schemas.TargetUser, "u1")
		if err != nil || len(st.Sessions) != 1 || st.Sessions[0].Unacked.Entries == 0 || h.server.waiting() != 1 {
			return fmt.Errorf("%+v, %w", st, err)
		}
		return nil
	})
	// The others notice nothing.
	s := h.dial("deviceId=quick userId=u2 biz=A")
	h.task.push(text("A", "u2", "a"))
	s.want(span("A", 0, 1, one(1, "a")))
	in := readStream(t, conn)
	drainIDs(t, in, 0, stalling)
}

// waiting counts the clients whose socket takes nothing.
func (s *Server) waiting() int {
	n := 0
	for _, c := range s.hub.all() {
		c.mu.Lock()
		if c.writing {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// rawStream opens a stream and reads nothing of it.
func (h *house) rawStream(query string) net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.http.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		h.t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /sync/stream?%s HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer %s\r\n\r\n", h.query(query), clientKey)
	return conn
}

// readStream reads a raw stream from its response header on.
func readStream(t testing.TB, conn net.Conn) *stream {
	s := &stream{t: t, events: make(chan event, 20_000), cancel: func() {}}
	s.res = &http.Response{Body: conn}
	skip := make([]byte, 1)
	for end := ""; !strings.HasSuffix(end, "\r\n\r\n"); {
		if _, err := io.ReadFull(conn, skip); err != nil {
			t.Fatal(err)
		}
		end += string(skip)
	}
	go s.read()
	return s
}

// A client whose socket takes nothing for too long is cut, and resumes.
func TestStalledClientIsCutAndResumes(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.StallTimeout = 50 * time.Millisecond })
	h.rawStream("deviceId=slow userId=u1 biz=A")
	var all []schemas.Entry
	for range stalling {
		all = append(all, text("A", "u1", strings.Repeat("x", 4000)))
	}
	h.task.push(all...)
	eventually(t, "it is cut", func() error {
		if n := h.server.Counts().Connections; n != 0 || h.server.applied("A", "u1", stalling) != nil {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	drainIDs(t, h.dial("deviceId=slow userId=u1 biz=A"), 0, stalling)
}

// A log that contradicts itself stops its partition, and no other.
func TestBrokenChainParks(t *testing.T) {
	h := newHouse(t, nil)
	token := targetsOf(h, 0)[0]
	elsewhere := targetsOf(h, 1)[0]
	s := h.dial("deviceId=d1 userId=" + token + " biz=A")
	h.task.push(text("A", token, "fine"))
	s.want(span("A", 0, 1, one(1, "fine")))
	bad := h.task.record(text("A", token, "truth"))
	bad.Value = []byte(strings.Replace(string(bad.Value), "truth", "false", 1))
	h.task.write(bad)
	eventually(t, "parked", func() error {
		if st := h.server.Partitions()[0]; !strings.Contains(st.Parked, "chain does not follow") {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	if err := h.server.Ready(); err == nil || !strings.Contains(err.Error(), "partition 0 stands still") {
		t.Errorf("ready: %v", err)
	}
	other := h.dial("deviceId=d2 userId=" + elsewhere + " biz=A")
	h.task.push(text("A", elsewhere, "x"))
	other.want(span("A", 0, 1, one(1, "x")))
	// What the view holds is still there for new connections.
	again := h.dial("deviceId=d1 userId=" + token + " biz=A")
	again.want(span("A", 0, 1, one(1, "fine")))
}

// targetsOf finds names that hash to a partition.
func targetsOf(h *house, partition int32) []string {
	var all []string
	for i := 0; len(all) < 10; i++ {
		if name := fmt.Sprint("t", i); h.topo.Of(name) == partition {
			all = append(all, name)
		}
	}
	return all
}

// What another owner writes again, or an append that came out of order, is
// delivered once and in order.
func TestRepeatsAndOrphans(t *testing.T) {
	h := newHouse(t, nil)
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	a, b, c := h.task.record(text("A", "u1", "a")), h.task.record(text("A", "u1", "b")), h.task.record(text("A", "u1", "c"))
	again := func(r *kgo.Record) *kgo.Record {
		return &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	}
	h.task.write(a, c, b, again(a), again(b), again(c), again(c))
	drainIDs(t, s, 0, 3)
	h.task.push(text("A", "u1", "d"))
	s.want(span("A", 3, 4, one(4, "d")))
	st := h.server.Partitions()[h.topo.Of("u1")]
	if st.Repeats != 3 || st.Orphans != 1 || st.Lag != 0 || st.Offset != 8 {
		t.Errorf("%+v", st)
	}
}

// A topic that was cut below what the view has read stops the partition.
func TestTopicThatWentBackwardsParks(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "a"), text("A", "u1", "b"))
	eventually(t, "applied", func() error { return h.server.applied("A", "u1", 2) })
	h.close()
	adm := kadm.NewClient(h.task.client)
	if _, err := adm.DeleteTopics(context.Background(), h.topo.Oplog.Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic is made anew", func() error {
		_, err := adm.CreateTopic(context.Background(), h.topo.Partitions, 1, nil, h.topo.Oplog.Name)
		return err
	})
	h.begin()
	p := h.topo.Of("u1")
	eventually(t, "parked", func() error {
		if st := h.server.Partitions()[p]; !strings.Contains(st.Parked, "cut or made anew") {
			return fmt.Errorf("%+v, %w", st, h.server.Ready())
		}
		return nil
	})
	for _, st := range h.server.Partitions() {
		if (st.Parked != "") != (st.Partition == p) {
			t.Errorf("%+v", st)
		}
	}
}

// Records that expired before the view read them stop the partition.
func TestExpiredRecordsPark(t *testing.T) {
	h := newHouse(t, nil)
	h.task.push(text("A", "u1", "a"))
	eventually(t, "applied", func() error { return h.server.applied("A", "u1", 1) })
	h.close()
	h.task.push(text("A", "u1", "b"), text("A", "u1", "c"))
	p := h.topo.Of("u1")
	offsets := kadm.Offsets{}
	offsets.AddOffset(h.topo.Oplog.Name, p, 2, -1)
	if _, err := kadm.NewClient(h.task.client).DeleteRecords(context.Background(), offsets); err != nil {
		t.Fatal(err)
	}
	h.begin()
	eventually(t, "parked", func() error {
		if st := h.server.Partitions()[p]; !strings.Contains(st.Parked, "has expired") {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	// A new view begins where the log does.
	h.close()
	h.fs = newMemFS()
	h.start()
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	s.want(span("A", 0, 3, one(3, "c")))
}

func TestReadyWhenCaughtUp(t *testing.T) {
	h := bare(t)
	h.task.push(text("A", "u1", "a"))
	adm := kadm.NewClient(h.task.client)
	if _, err := adm.DeleteTopics(context.Background(), h.topo.Acks.Name); err != nil {
		t.Fatal(err)
	}
	h.begin()
	if err := h.server.Ready(); err == nil {
		t.Error("ready without its topics")
	}
	res, cancel := h.get("/sync/stream?" + h.query("deviceId=d1 userId=u1 biz=A"))
	defer cancel()
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("before it is ready: %d %v", res.StatusCode, res.Header)
	}
	if code, _ := h.post(`{}`, clientKey); code != http.StatusServiceUnavailable {
		t.Errorf("ack before it is ready: %d", code)
	}
	eventually(t, "the topic is made", func() error {
		_, err := adm.CreateTopic(context.Background(), h.topo.Partitions, 1, nil, h.topo.Acks.Name)
		return err
	})
	eventually(t, "ready", h.server.Ready)
	if err := h.server.applied("A", "u1", 1); err != nil {
		t.Errorf("ready before it had caught up: %v", err)
	}
}

func TestAdmission(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.ConnectionsMax, c.HandshakesMax = 3, 1 })
	// One that dawdles over its hello holds the only place.
	slow := h.ws()
	res, cancel := h.get("/sync/stream?" + h.query("deviceId=d1 biz=DEV"))
	res.Body.Close()
	cancel()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("one handshake too many: %d %v", res.StatusCode, res.Header)
	}
	slow.say(helloOf("d0", "", schemas.Interest{BizType: "DEV"}))
	slow.next()
	for i := range 2 {
		eventually(t, "a place is free", func() error {
			if h.server.handshakes.Load() > 0 {
				return errors.New("handshake under way")
			}
			return nil
		})
		h.dial(fmt.Sprintf("deviceId=d%d biz=DEV", i+1))
	}
	eventually(t, "a place is free", func() error {
		if h.server.handshakes.Load() > 0 {
			return errors.New("handshake under way")
		}
		return nil
	})
	res, cancel = h.get("/sync/stream?" + h.query("deviceId=d9 biz=DEV"))
	res.Body.Close()
	cancel()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one connection too many: %d", res.StatusCode)
	}
	if n := h.server.Counts(); n.Connections != 3 || n.Max != 3 {
		t.Errorf("%+v", n)
	}
}

// S003-36, S003-37: nothing but comments while there is nothing.
func TestKeepAlive(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.KeepAlive = time.Second })
	conn := h.rawStream("deviceId=d1 userId=u1 biz=A")
	var got strings.Builder
	buf := make([]byte, 100)
	for strings.Count(got.String(), "\n:\n") < 2 {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.Write(buf[:n])
	}
	_, body, _ := strings.Cut(got.String(), "\r\n\r\n")
	for line := range strings.Lines(body) {
		if line != "\n" && !strings.HasPrefix(line, ":") {
			t.Errorf("line %q", line)
		}
	}
}

func TestSilentClientIsClosed(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Heartbeat = time.Second })
	d := h.ws()
	d.say(helloOf("d1", "u1", schemas.Interest{BizType: "A"}))
	d.ended(schemas.CloseSilent)
}

func TestDrain(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.DrainSpread = time.Minute })
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	d := h.ws()
	d.say(helloOf("d2", "u1", schemas.Interest{BizType: "A"}))
	d.next()
	h.close()
	if e := s.ended(); !strings.Contains(e.data, `"code":4000`) || !strings.Contains(e.data, `"retry":true`) || e.retry == "" {
		t.Errorf("event %+v", e)
	}
	if last := d.ended(schemas.CloseGoingAway); last.RetryAfterMillis == 0 {
		t.Errorf("%+v", last)
	}
}

// All goroutines end with Run, whatever the clients do.
func TestNothingIsLeftBehind(t *testing.T) {
	h := bare(t)
	h.cfg.Native = listen(t)
	h.start()
	for i := range 5 {
		h.dial(fmt.Sprintf("deviceId=s%d userId=u biz=A", i))
		d := h.ws()
		d.say(helloOf(fmt.Sprint("w", i), "u", schemas.Interest{BizType: "A"}))
		c := h.tcp(func() (net.Conn, error) { return net.Dial("tcp", h.cfg.Native.Addr().String()) })
		c.say(helloOf(fmt.Sprint("t", i), "u", schemas.Interest{BizType: "A"}))
		h.rawStream(fmt.Sprintf("deviceId=r%d userId=big biz=A", i))
	}
	var all []schemas.Entry
	for range stalling {
		all = append(all, text("A", "big", strings.Repeat("x", 4000)))
	}
	h.task.push(all...)
	eventually(t, "clients stall", func() error {
		if n := h.server.waiting(); n != 5 {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	h.close()
	for _, g := range strings.Split(stacks(), "\n\n") {
		if strings.Contains(g, "connectors/edge.(*") && !strings.Contains(g, "_test.go") ||
			strings.Contains(g, "pebble/v2.(*DB)") || strings.Contains(g, "net.(*TCPListener).Accept") && !strings.Contains(g, "kfake") {
			t.Errorf("left behind:\n%s", g)
		}
	}
}

func TestMetricsAndStatus(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHouse(t, func(c *Config) { c.Metrics = reg })
	h.task.push(text("A", "u1", "a"), text("A", "u1", "b"), text("DEV", "u1", "not the user's"), text("ALL", "", "g"))
	eventually(t, "applied", func() error {
		return errors.Join(h.server.applied("A", "u1", 2), h.server.applied("DEV", "u1", 1), h.server.globalHead("ALL", 1))
	})
	series := count(t, reg)
	s := h.dial("deviceId=d1 userId=u1 biz=A,ALL os=iOS appVersion=9.1")
	s.next()
	s.next()
	h.ack("d1", "u1", "A", 1)
	h.ack("d1", "u1", "ALL", 1)
	eventually(t, "the sync point is stored", func() error {
		to, ok, err := h.server.partitionOf("u1").view.Point(viewLog("A", "u1"), "d1")
		if err != nil || !ok || to != 1 {
			return fmt.Errorf("%d %v %w", to, ok, err)
		}
		_, ok, err = h.server.partitionOf("u1").view.Point(viewLog("ALL", "u1"), "d1")
		if err != nil || !ok {
			return fmt.Errorf("global: %v %w", ok, err)
		}
		return nil
	})
	st, err := h.server.Target(instance, schemas.TargetUser, "u1")
	if err != nil {
		t.Fatal(err)
	}
	if !st.Connected || len(st.Sessions) != 1 || st.Sessions[0].OS != "iOS" || st.Sessions[0].Transport != transportSSE {
		t.Errorf("sessions %+v", st.Sessions)
	}
	if st.Pushes != 3 || st.Arrivals != 2 || len(st.Devices) != 1 || st.Devices[0].DeviceID != "d1" {
		t.Errorf("%+v", st)
	}
	var lines []string
	for _, b := range st.Businesses {
		lines = append(lines, fmt.Sprintf("%s first %d head %d acked %d pushes %d arrivals %d points %d", b.BizType, b.First, b.Head, b.Acked, b.Pushes, b.Arrivals, len(b.Points)))
	}
	want := []string{
		"A first 1 head 2 acked 1 pushes 2 arrivals 1 points 1",
		"ALL first 1 head 1 acked 1 pushes 1 arrivals 1 points 1",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("businesses %q", lines)
	}
	pushes, err := h.server.Pushes(instance, "u1", 10)
	if err != nil || len(pushes) != 3 || pushes[0].ID != 2 || pushes[0].Arrived || !pushes[1].Arrived {
		t.Errorf("pushes %+v, %v", pushes, err)
	}
	if st, err := h.server.Target(instance, schemas.TargetDevice, "u1"); err != nil || st.Connected || st.Pushes != 1 {
		t.Errorf("the device of that name: %+v, %v", st, err)
	}
	if st, err := h.server.Target(instance, schemas.TargetUser, "nobody"); err != nil || st.Connected || len(st.Businesses) != 0 {
		t.Errorf("nobody: %+v, %v", st, err)
	}
	s.close()
	eventually(t, "offline", func() error {
		if st, err := h.server.Target(instance, schemas.TargetUser, "u1"); err != nil || st.Connected {
			return fmt.Errorf("%+v %w", st, err)
		}
		return nil
	})
	if n := count(t, reg); n != series {
		t.Errorf("%d series at first, %d after some use", series, n)
	}
}

// count counts a registry's series.
func count(t *testing.T, reg *prometheus.Registry) int {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

// Behind HTTP/2 the connection cannot be taken over; streams work all the same.
func TestStreamOverHTTP2(t *testing.T) {
	h := newHouse(t, nil)
	h.http.Close()
	h.http = httptest.NewUnstartedServer(h.server.Handler())
	h.http.EnableHTTP2 = true
	h.http.StartTLS()
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	if s.res.ProtoMajor != 2 {
		t.Fatalf("protocol %s", s.res.Proto)
	}
	h.task.push(text("A", "u1", "a"))
	s.want(span("A", 0, 1, one(1, "a")))
	again := h.dial("deviceId=d1 userId=u1 biz=A")
	s.ended()
	again.want(span("A", 0, 1, one(1, "a")))
	again.close()
	eventually(t, "it is noticed", func() error {
		if n := h.server.Counts().Connections; n != 0 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
}

func TestRoute(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.PublicAddress, c.NativeAddress, c.EdgeID = "push.example:443", "push.example:8443", "e1"
	})
	res, cancel := h.get("/route?instanceId=" + instance)
	defer cancel()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if want := `{"edge":"e1","http":"push.example:443","native":"push.example:8443","stream":"/sync/stream","ws":"/sync/ws"}`; err != nil || strings.TrimSpace(string(body)) != want {
		t.Errorf("%s, %v", body, err)
	}
	for path, want := range map[string]int{"/route": 400, "/route?instanceId=other": 401} {
		res, cancel := h.get(path)
		res.Body.Close()
		cancel()
		if res.StatusCode != want {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Config{Client: []kgo.Opt{kgo.ClientID("x")}, Topology: bareTopology(t), Shared: bareShared(t), Dir: "d",
		Settings: func() *registry.Settings { return nil }, Authenticate: func(string, string) bool { return true }}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*Config){
		"Client": func(c *Config) { c.Client = nil }, "Topology": func(c *Config) { c.Topology = nil }, "Shared": func(c *Config) { c.Shared = nil },
		"Dir": func(c *Config) { c.Dir = "" }, "Settings": func(c *Config) { c.Settings = nil }, "Authenticate": func(c *Config) { c.Authenticate = nil },
		"Heartbeat": func(c *Config) { c.Heartbeat = -1 }, "ConnectionsMax": func(c *Config) { c.ConnectionsMax = -1 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Entries are dropped from memory while sessions read them: what they still
// need comes from the view.
func TestShortMemory(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.TailBytes = 4 * entryBytes })
	var streams []*stream
	for i := range 8 {
		streams = append(streams, h.dial(fmt.Sprintf("deviceId=d%d userId=u1 biz=A", i)))
	}
	for range 20 {
		var all []schemas.Entry
		for range 50 {
			all = append(all, schemas.Entry{BizType: "A", LinkToken: "u1", ThirdMsgID: "m", Payload: "x"})
		}
		h.task.push(all...)
	}
	for _, s := range streams {
		drainIDs(t, s, 0, 1000)
	}
}
