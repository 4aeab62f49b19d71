package edge

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// patience bounds every wait of a test; it is no part of what is tested.
const patience = 20 * time.Second

const (
	instance  = "demo_APP1"
	clientKey = "ck-demo"
)

// house is an edge with what it needs: a broker in memory, the map, settings
// that can be changed, and a sync task's pen.
type house struct {
	t       testing.TB
	cluster *kfake.Cluster
	topo    *topology.Topology
	fs      vfs.FS
	shared  *state.Shared
	task    *task

	mu       sync.Mutex
	settings *registry.Settings
	changed  chan struct{}

	cfg    Config // what a test wants otherwise
	server *Server
	http   *httptest.Server
	stop   context.CancelFunc
	ended  chan error
}

func newHouse(t testing.TB, tune func(*Config)) *house {
	t.Helper()
	h := bare(t)
	if tune != nil {
		tune(&h.cfg)
	}
	h.start()
	return h
}

// bare is a house whose edge has not started.
func bare(t testing.TB) *house {
	t.Helper()
	topo, err := topology.New(topology.Config{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, topo: topo, fs: vfs.NewMem(), settings: &registry.Settings{}, changed: make(chan struct{}, 1)}
	var names []string
	for _, topic := range topo.Topics() {
		names = append(names, topic.Name)
	}
	if h.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(topo.Partitions, names...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.cluster.Close)
	if h.shared, err = state.NewShared(state.SharedConfig{CacheBytes: 32 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.shared.Close(); err != nil {
			t.Error(err)
		}
	})
	h.task = newTask(t, h)
	h.configure(
		schemas.SyncConfig{BizType: "A", MultiDevice: true},
		schemas.SyncConfig{BizType: "B", MultiDevice: true},
		schemas.SyncConfig{BizType: "ONE"},
		schemas.SyncConfig{BizType: "DEV", Target: schemas.TargetDevice},
		schemas.SyncConfig{BizType: "NOW", MultiDevice: true, RepushMode: "none"},
		schemas.SyncConfig{BizType: "ALL", Scope: schemas.ScopeGlobal},
	)
	return h
}

// configure puts businesses into the settings: persistent and online unless
// RepushMode is "none" (not persistent) or Description is "offline".
func (h *house) configure(all ...schemas.SyncConfig) {
	changes := []schemas.Change{{Kind: schemas.PutInstance, InstanceID: instance}}
	for _, c := range all {
		if c.Scope == "" {
			c.Scope = schemas.ScopeSpecified
		}
		if c.Target == "" {
			c.Target = schemas.TargetUser
		}
		c.Persistent = c.RepushMode != "none"
		if !c.Persistent {
			c.RepushMode = ""
		}
		c.Online = c.Description != "offline"
		changes = append(changes, schemas.Change{Kind: schemas.PutSync, InstanceID: instance, Sync: c})
	}
	h.change(changes...)
}

func (h *house) change(changes ...schemas.Change) {
	h.mu.Lock()
	h.settings = h.settings.With(h.settings.Revision+1, changes)
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *house) current() *registry.Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings
}

// start opens the edge and waits until it is ready.
func (h *house) start() {
	h.t.Helper()
	h.begin()
	eventually(h.t, "ready", func() error { return h.server.Ready() })
}

// begin opens the edge.
func (h *house) begin() {
	h.t.Helper()
	cfg := h.cfg
	cfg.Client = []kgo.Opt{kgo.SeedBrokers(h.cluster.ListenAddrs()...), kgo.MetadataMinAge(20 * time.Millisecond)}
	cfg.Topology, cfg.Shared, cfg.Dir, cfg.FS = h.topo, h.shared, "edge", h.fs
	cfg.Settings, cfg.SettingsChanged = h.current, h.changed
	cfg.Authenticate = func(id, key string) bool {
		return id == instance && subtle.ConstantTimeCompare([]byte(key), []byte(clientKey)) == 1
	}
	if cfg.DrainSpread == 0 {
		cfg.DrainSpread = time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if h.server, err = New(cfg); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop, h.ended = cancel, make(chan error, 1)
	server := h.server
	go func() { h.ended <- server.Run(ctx) }()
	h.http = httptest.NewServer(h.server.Handler())
	h.t.Cleanup(h.close)
}

// close stops the edge, as a restart does.
func (h *house) close() {
	h.t.Helper()
	if h.stop == nil {
		return
	}
	h.stop()
	h.stop = nil
	select {
	case err := <-h.ended:
		if err != nil && !errors.Is(err, context.Canceled) {
			h.t.Error("Run:", err)
		}
	case <-time.After(patience):
		h.t.Error("Run did not return:\n", stacks())
	}
	h.http.Close()
}

func (h *house) restart() {
	h.t.Helper()
	h.close()
	h.start()
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// eventually waits for something that needs no more than time.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// task writes oplogs as sync tasks do: ids by log, positions and chain by
// partition.
type task struct {
	t      testing.TB
	h      *house
	client *kgo.Client
	mu     sync.Mutex
	ids    map[string]int64
	parts  []nib
	wrote  map[int32]int64 // end of what push has put into each oplog partition
}

type nib struct {
	next, last int64
	chain      chain.Value
}

func newTask(t testing.TB, h *house) *task {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(h.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w := &task{t: t, h: h, client: client, ids: map[string]int64{}, wrote: map[int32]int64{}, parts: make([]nib, h.topo.Partitions)}
	for i := range w.parts {
		w.parts[i].last = chain.None
	}
	return w
}

// record makes the next oplog record, without writing it.
func (w *task) record(e schemas.Entry) *kgo.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.InstanceID = instance
	cfg := w.h.current().Sync(instance, e.BizType)
	if cfg != nil && cfg.Scope == schemas.ScopeGlobal {
		e.Scope, e.LinkToken = schemas.ScopeGlobal, ""
	} else {
		e.NonPersistent = cfg != nil && !cfg.Persistent
	}
	if e.ValidTimeEnd == 0 {
		e.ValidTimeEnd = time.Now().Add(time.Hour).UnixMilli()
	}
	log := e.BizType + "/" + e.LinkToken
	w.ids[log]++
	e.OplogID = w.ids[log]
	if e.ThirdMsgID == "" {
		e.ThirdMsgID = fmt.Sprint("m", e.OplogID)
	}
	p := w.h.topo.Of(e.Key())
	at := &w.parts[p]
	e.RequestOffset, e.PrevOffset = at.next, at.last
	at.last, at.next = at.next, at.next+1
	buf := e.AppendCanonical(make([]byte, schemas.ChainLen))
	at.chain = chain.Next(at.chain, buf)
	return &kgo.Record{Topic: w.h.topo.Oplog.Name, Partition: p, Key: []byte(e.Key()), Value: schemas.AppendChain(buf[schemas.ChainLen:], at.chain)}
}

// push accepts entries and waits until the broker has them.
func (w *task) push(all ...schemas.Entry) {
	w.t.Helper()
	var records []*kgo.Record
	for _, e := range all {
		r := w.record(e)
		records = append(records, r)
		var back schemas.Entry
		if err := back.Decode(r.Value); err != nil {
			w.t.Fatal(err)
		}
		if back.Global() {
			records = append(records, &kgo.Record{Topic: w.h.topo.Broadcast.Name, Partition: r.Partition, Key: r.Key, Value: r.Value})
		}
	}
	w.write(records...)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range records {
		if r.Topic == w.h.topo.Oplog.Name {
			w.wrote[r.Partition] = r.Offset + 1
		}
	}
}

// settle waits until the edge has what was pushed: a stream that is opened
// before may get a business's entries in several spans, in any order with
// another partition's.
func (w *task) settle() {
	w.t.Helper()
	w.mu.Lock()
	wrote := maps.Clone(w.wrote)
	w.mu.Unlock()
	eventually(w.t, "views have what was pushed", func() error {
		for _, p := range w.h.server.Partitions() {
			if p.Parked == "" && p.Offset < wrote[p.Partition] {
				return fmt.Errorf("partition %d is at %d of %d", p.Partition, p.Offset, wrote[p.Partition])
			}
		}
		return nil
	})
}

func (w *task) write(records ...*kgo.Record) {
	w.t.Helper()
	if err := w.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// text is an entry with a text payload.
func text(biz, token, payload string) schemas.Entry {
	return schemas.Entry{BizType: biz, LinkToken: token, Payload: payload}
}

// event is one event of a stream, as a browser would see it.
type event struct {
	id, name, data, retry string
}

// stream is a small reader of Server-Sent Events, written from the WHATWG
// text and not from the server.
type stream struct {
	t      testing.TB
	res    *http.Response
	cancel context.CancelFunc
	events chan event
}

// params makes a query out of "key=value" words.
func params(words string) url.Values {
	q := url.Values{}
	for _, word := range strings.Fields(words) {
		k, v, _ := strings.Cut(word, "=")
		q.Set(k, v)
	}
	return q
}

// dial opens a stream; query is in words, such as "deviceId=d biz=A,B".
func (h *house) dial(query string, header ...string) *stream {
	h.t.Helper()
	h.task.settle()
	res, cancel := h.get("/sync/stream?"+h.query(query), header...)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(res.Body)
		h.t.Fatalf("%s: %d %v: %s", query, res.StatusCode, res.Header, body)
	}
	s := &stream{t: h.t, res: res, cancel: cancel, events: make(chan event, 20_000)}
	go s.read()
	h.t.Cleanup(s.close)
	return s
}

func (h *house) query(words string) string {
	q := params(words)
	if !q.Has("instanceId") {
		q.Set("instanceId", instance)
	}
	return q.Encode()
}

func (h *house) get(path string, header ...string) (*http.Response, context.CancelFunc) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.http.URL+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+clientKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h.http.Client().Do(req)
	if err != nil {
		cancel()
		h.t.Fatal(err)
	}
	return res, cancel
}

func (s *stream) read() {
	defer close(s.events)
	in := bufio.NewReader(s.res.Body)
	var e event
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			if e != (event{}) {
				s.events <- e
			}
			e = event{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data += value
		case "retry":
			e.retry = value
		case "": // a comment
		default:
			s.t.Errorf("line %q is none of an event stream", line)
		}
	}
}

func (s *stream) close() {
	s.cancel()
	_ = s.res.Body.Close()
}

// next waits for an event.
func (s *stream) next() event {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(patience):
		s.t.Fatal("no event came")
	}
	return event{}
}

// want waits for an event with that data, and gives its cursor.
func (s *stream) want(data string) string {
	s.t.Helper()
	e := s.next()
	if e.data != data || e.name != "sync" || e.id == "" {
		s.t.Fatalf("event %+v\nwant data %s", e, data)
	}
	return e.id
}

// quiet checks that nothing came before a later event that is provoked now.
func (s *stream) ended() event {
	s.t.Helper()
	e := s.next()
	if e.name != "close" {
		s.t.Fatalf("event %+v, want the end", e)
	}
	select {
	case more, ok := <-s.events:
		if ok {
			s.t.Fatalf("after the end: %+v", more)
		}
	case <-time.After(patience):
		s.t.Fatal("the connection stays open after its end")
	}
	return e
}

// post sends a body to POST /sync/ack.
func (h *house) post(body string, key string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequest(http.MethodPost, h.http.URL+"/sync/ack", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := h.http.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(answer))
}

// ack acknowledges and wants success.
func (h *house) ack(device, user, biz string, to int64) {
	h.t.Helper()
	body := fmt.Sprintf(`{"instanceId":%q,"deviceId":%q,"userId":%q,"bizType":%q,"to":%d}`, instance, device, user, biz, to)
	if code, answer := h.post(body, clientKey); code != http.StatusOK || answer != `{"success":true}` {
		h.t.Fatalf("ack %s: %d %s", body, code, answer)
	}
}
