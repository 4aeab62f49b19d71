package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tidemarkio/tidemark/schemas"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	ours    = "00-" + traceID + "-00f067aa0ba902b7-01"
	unasked = "00-" + traceID + "-00f067aa0ba902b7-00"
)

// kept is an exporter that keeps spans past its shutdown.
type kept struct {
	mu    sync.Mutex
	spans tracetest.SpanStubs
}

// ExportSpans implements sdktrace.SpanExporter.
func (k *kept) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, tracetest.SpanStubsFromReadOnlySpans(spans)...)
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (*kept) Shutdown(context.Context) error { return nil }

func (k *kept) byName() map[string][]tracetest.SpanStub {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make(map[string][]tracetest.SpanStub)
	for _, s := range k.spans {
		all[s.Name] = append(all[s.Name], s)
	}
	return all
}

const traceSettings = "instances:\n  - {id: app0, clientKey: ck, sync: [{bizType: B0, scope: specified, target: user, multiDevice: true}]}\n"

// tracedPush pushes with a traceparent.
func tracedPush(t *testing.T, n *Node, id, traceparent string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL()+"/webapi/sync/single?instanceId=app0",
		strings.NewReader(fmt.Sprintf(`{"bizType":"B0","linkToken":"user1","thirdMsgId":%q,"payload":"x"}`, id)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); !bytes.Contains(answer, []byte(`"success":true`)) {
		t.Fatalf("push: %s", answer)
	}
}

// TestATraceRunsFromTheCallToTheAcknowledgement through a whole node, as one
// line of parents.
func TestATraceRunsFromTheCallToTheAcknowledgement(t *testing.T) {
	k := &kept{}
	n, stop := readyNode(t, func(c *Config) { c.Trace.exporter = k })
	apply(t, n, traceSettings)
	stream := get(t, n.URL()+"/sync/stream?instanceId=app0&deviceId=phone&userId=user1&biz=B0")
	defer stream.Close()
	tracedPush(t, n, "m1", ours)
	if err := readUntil(stream, "m1"); err != nil {
		t.Fatal(err)
	}
	post(t, n.URL()+"/sync/ack", `{"instanceId":"app0","deviceId":"phone","userId":"user1","bizType":"B0","to":1}`)
	stream.Close()
	if err := stop(); err != nil { // exports the last
		t.Fatal(err)
	}
	all := k.byName()
	parent := ours[len("00-"+traceID+"-") : len(ours)-len("-01")]
	for _, name := range []string{"call", "append", "push", "ack"} {
		if len(all[name]) != 1 {
			t.Fatalf("%d spans %s, want one; in all %v", len(all[name]), name, all)
		}
		s := all[name][0]
		if got := s.SpanContext.TraceID().String(); got != traceID {
			t.Errorf("%s is of trace %s, want the caller's", name, got)
		}
		if got := s.Parent.SpanID().String(); got != parent {
			t.Errorf("the parent of %s is %s, want %s", name, got, parent)
		}
		if s.EndTime.Before(s.StartTime) {
			t.Errorf("%s ends at %v before it begins at %v", name, s.EndTime, s.StartTime)
		}
		parent = s.SpanContext.SpanID().String()
	}
	if got := fmt.Sprint(all["call"][0].Attributes); !strings.Contains(got, "tidemark.code") || !strings.Contains(got, "app0") {
		t.Errorf("the call's attributes are %s, want its instance and code", got)
	}
}

// TestTracesAreSampledWhenAskedFor: by the caller's traceparent, or else by
// share.
func TestTracesAreSampledWhenAskedFor(t *testing.T) {
	for _, c := range []struct {
		name, traceparent string
		share             float64
		want              int
	}{
		{"a traceparent that asks", ours, 0, 1},
		{"a traceparent that asks not", unasked, 1, 0},
		{"no traceparent, none sampled", "", 0, 0},
		{"no traceparent, all sampled", "", 1, 1},
		{"no W3C traceparent, none sampled", "hello", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &kept{}
			n, stop := readyNode(t, func(cfg *Config) { cfg.Trace.exporter, cfg.Trace.Sample = k, c.share })
			apply(t, n, traceSettings)
			tracedPush(t, n, "m1", c.traceparent)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			all := k.byName()
			if len(all["call"]) != c.want || len(all["append"]) != c.want {
				t.Errorf("%d calls and %d appends, want %d of each", len(all["call"]), len(all["append"]), c.want)
			}
		})
	}
}

// TestTheLogDoesNotDependOnTracing: design I4. The same requests make the same
// bytes whether somebody watches or not, from both doors.
func TestTheLogDoesNotDependOnTracing(t *testing.T) {
	var logs [2][][]byte
	for i, traceparent := range []string{"", ours} {
		n, _ := readyNode(t, func(c *Config) {
			if traceparent != "" {
				c.Trace.exporter = &kept{}
			}
			c.Topology.Partitions = 1
			c.TickEvery = time.Hour // stream time is part of an entry
		})
		apply(t, n, traceSettings)
		records := pushThroughKafka(t, n, traceparent)
		for _, r := range records {
			logs[i] = append(logs[i], withoutTime(t, r.Value))
		}
		carried := 0
		for _, r := range records {
			for _, h := range r.Headers {
				if h.Key == schemas.HeaderTraceparent && strings.Contains(string(h.Value), traceID) {
					carried++
				}
			}
		}
		if want := 3 * i; carried != want {
			t.Errorf("traceparent %q: %d records of the oplog carry the trace, want %d", traceparent, carried, want)
		}
	}
	if len(logs[0]) != 3 || len(logs[1]) != 3 {
		t.Fatalf("%d and %d entries, want 3 of each", len(logs[0]), len(logs[1]))
	}
	for i := range logs[0] {
		if !bytes.Equal(logs[0][i], logs[1][i]) {
			t.Errorf("entry %d is %x, and traced %x", i, logs[0][i], logs[1][i])
		}
	}
}

// pushThroughKafka pushes three requests and gives their records of the oplog.
func pushThroughKafka(t *testing.T, n *Node, traceparent string) (records []*kgo.Record) {
	t.Helper()
	client := member(t, n.Client(), kgo.ConsumeTopics(n.Topology().Oplog.Name), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	for i := range 3 {
		r := &kgo.Record{Topic: n.Topology().Requests.Name, Value: fmt.Appendf(nil,
			`{"instanceId":"app0","bizType":"B0","linkToken":"user1","thirdMsgId":"m%d","payload":"x"}`, i)}
		if traceparent != "" {
			r.Headers = []kgo.RecordHeader{{Key: schemas.HeaderTraceparent, Value: []byte(traceparent)}}
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(records) < 3 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			var e schemas.Entry
			if err := e.Decode(r.Value); err != nil {
				t.Fatal(err)
			}
			if e.OplogID > 0 {
				records = append(records, r)
			}
		}
	}
	return records
}

// withoutTime is an entry's canonical form without what two runs differ in
// anyway: stream time and what is made of it, positions and the chain.
func withoutTime(t *testing.T, value []byte) []byte {
	t.Helper()
	var e schemas.Entry
	if err := e.Decode(bytes.Clone(value)); err != nil {
		t.Fatal(err)
	}
	e.StreamTime, e.ValidTimeEnd, e.RequestOffset, e.PrevOffset, e.SettingsRevision = 0, 0, 0, 0, 0
	return e.AppendCanonical(nil)
}

func TestTracesGoToTheReceiver(t *testing.T) {
	got := make(chan string, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- fmt.Sprintf("%s %s %s %t", r.Method, r.URL.Path, r.Header.Get("Content-Type"), bytes.Contains(body, []byte("tidemark-node")))
	}))
	defer receiver.Close()
	n, stop := readyNode(t, func(c *Config) { c.Trace.Endpoint = receiver.URL })
	apply(t, n, traceSettings)
	tracedPush(t, n, "m1", ours)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case is := <-got:
		if want := "POST /v1/traces application/x-protobuf true"; is != want {
			t.Errorf("the receiver got %s, want %s", is, want)
		}
	default:
		t.Error("the receiver got nothing until the node had stopped")
	}
}

func TestTraceConfigNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		cfg  TraceConfig
		want string
	}{
		{TraceConfig{}, ""},
		{TraceConfig{Endpoint: "http://127.0.0.1:4318", Sample: 0.1}, ""},
		{TraceConfig{Endpoint: "127.0.0.1:4318"}, "--otlp-endpoint"},
		{TraceConfig{Endpoint: "http://127.0.0.1:4318", Sample: 2}, "from 0 to 1"},
		{TraceConfig{Sample: 0.5}, "say where"},
	} {
		if err := c.cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	if tr, err := openTracing(t.Context(), TraceConfig{}, "node", "dev"); tr != nil || err != nil || tr.traceCalls() != nil {
		t.Errorf("the zero config makes %v, %v: want nothing, which costs nothing", tr, err)
	}
}
