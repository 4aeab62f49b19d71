package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/topology"
)

// The test program plays the pipes too, when it is started with their command.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "pipe" {
		main()
		return
	}
	os.Exit(m.Run())
}

func small() *workload {
	return &workload{Requests: 5000, Bytes: 256, Tokens: 300, Businesses: 4, Duplicates: 0.05, Partitions: 8, Seed: 7}
}

// items copies the whole sequence.
func (w *workload) items() []item {
	var all []item
	w.each(func(it item) bool {
		it.value = slices.Clone(it.value)
		all = append(all, it)
		return true
	})
	return all
}

func TestWorkloadIsWhatItSays(t *testing.T) {
	w := small()
	all := w.items()
	if len(all) != w.Requests {
		t.Fatalf("%d requests", len(all))
	}
	repeats := 0
	first := make(map[int][]byte)
	for i, it := range all {
		var r schemas.Request
		if err := r.Decode("", it.value); err != nil {
			t.Fatal(err)
		}
		if f := r.Validate(); !f.None() || len(it.value) != w.Bytes || r.Key() != it.key || it.partition != topology.Partition(it.key, 8) {
			t.Fatalf("request %d: %v, %d bytes, key %q, partition %d", i, f, len(it.value), it.key, it.partition)
		}
		if uniqueOf([]byte(r.ThirdMsgID)) != it.unique {
			t.Fatalf("request %d: thirdMsgId %q of unique %d", i, r.ThirdMsgID, it.unique)
		}
		if before, ok := first[it.unique]; ok != it.repeat || ok && !bytes.Equal(before, it.value) {
			t.Fatalf("request %d: repeat %v, seen before %v, or other bytes", i, it.repeat, ok)
		}
		first[it.unique] = it.value
		if it.repeat {
			repeats++
		}
	}
	if repeats < 180 || repeats > 320 {
		t.Errorf("%d repeats among 5,000, want about 250", repeats)
	}
	again := w.items()
	if !slices.EqualFunc(all, again, func(a, b item) bool { return bytes.Equal(a.value, b.value) }) {
		t.Error("the same workload gave another sequence")
	}
}

func TestPayloadFillsEverySize(t *testing.T) {
	for size := 128; size <= 400; size++ {
		w := small()
		w.Bytes = size
		_, b := w.encode(nil, 3)
		// One size cannot be reached: where the length grows a second byte.
		if len(b) != size && len(b) != size-1 {
			t.Errorf("%d bytes, want %d", len(b), size)
		}
	}
}

func TestWorkloadLimits(t *testing.T) {
	for _, spoil := range []func(*workload){
		func(w *workload) { w.Requests = 0 }, func(w *workload) { w.Bytes = 10 }, func(w *workload) { w.Businesses = 27 },
		func(w *workload) { w.Duplicates = 1 }, func(w *workload) { w.Partitions = 0 },
	} {
		w := small()
		spoil(w)
		if w.validate() == nil {
			t.Errorf("%+v was taken", w)
		}
	}
}

// oplog is what a right program writes for the workload, by partition, made
// with the project's own encoder and chain.
func oplog(w *workload) [][][]byte {
	log := make([][][]byte, w.Partitions)
	prev := make([]int64, w.Partitions)
	link := make([]chain.Value, w.Partitions)
	offset := make([]int64, w.Partitions)
	for p := range prev {
		prev[p] = -1
	}
	last := make(map[string]int64)
	for _, it := range w.items() {
		p := it.partition
		if !it.repeat {
			var r schemas.Request
			if err := r.DecodeProto(it.value); err != nil {
				panic(err)
			}
			last[r.BizType+r.LinkToken]++
			e := schemas.Entry{
				InstanceID: r.InstanceID, BizType: r.BizType, LinkToken: r.LinkToken, ThirdMsgID: r.ThirdMsgID, Payload: r.Payload,
				OplogID: last[r.BizType+r.LinkToken], RequestOffset: offset[p], PrevOffset: prev[p],
			}
			buf := e.AppendCanonical(make([]byte, 16))
			link[p] = chain.Next(link[p], buf)
			prev[p] = offset[p]
			log[p] = append(log[p], schemas.AppendChain(buf[16:], link[p]))
		}
		offset[p]++
	}
	return log
}

func run(c checker, log [][][]byte) (string, error) {
	for p, values := range log {
		for _, v := range values {
			if err := c.record(int32(p), v); err != nil {
				return "", err
			}
		}
	}
	return c.finish()
}

func TestEntryCheckTakesARightLog(t *testing.T) {
	w := small()
	want := w.expect()
	for _, chained := range []bool{false, true} {
		line, err := run(newEntryCheck(w, want, chained), oplog(w))
		if err != nil || !strings.Contains(line, "ids gapless") {
			t.Errorf("chain %v: %q, %v", chained, line, err)
		}
	}
}

func TestEntryCheckFollowsTheReadersRule(t *testing.T) {
	w := small()
	log := oplog(w)
	marker := (&schemas.Entry{RequestOffset: 3, PrevOffset: 2}).AppendCanonical(nil)
	orphan := (&schemas.Entry{OplogID: 9, RequestOffset: 1 << 40, PrevOffset: 1 << 39}).AppendCanonical(nil)
	p := log[0]
	log[0] = slices.Concat(p[:10], p[5:10], [][]byte{marker, orphan}, p[10:])
	line, err := run(newEntryCheck(w, w.expect(), true), log)
	if err != nil || !strings.Contains(line, "1 markers, 5 repeats, 1 orphans") {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := run(newEntryCheck(w, w.expect(), false), log); err == nil {
		t.Error("without the rule, a log with repeats was taken")
	}
}

// Each fault of a program must be seen.
func TestEntryCheckFindsFaults(t *testing.T) {
	w := small()
	want := w.expect()
	edit := func(log [][][]byte, change func(*schemas.Entry)) {
		var e schemas.Entry
		if err := e.Decode(log[3][20]); err != nil {
			panic(err)
		}
		change(&e)
		log[3][20] = schemas.AppendChain(e.AppendCanonical(nil), e.Chain)
	}
	faults := map[string]func(log [][][]byte){
		"missing": func(log [][][]byte) { log[2] = log[2][:len(log[2])-1] },
		"twice":   func(log [][][]byte) { log[2] = append(log[2], log[2][0]) },
		"id":      func(log [][][]byte) { edit(log, func(e *schemas.Entry) { e.OplogID++ }) },
		"content": func(log [][][]byte) { edit(log, func(e *schemas.Entry) { e.Payload = "x" + e.Payload[1:] }) },
		"unasked": func(log [][][]byte) { edit(log, func(e *schemas.Entry) { e.ThirdMsgID = "msg-999999999999" }) },
		"order":   func(log [][][]byte) { slices.Reverse(log[1]) },
		"rubbish": func(log [][][]byte) { log[0][0] = []byte{0xff} },
	}
	for name, spoil := range faults {
		log := oplog(w)
		spoil(log)
		if line, err := run(newEntryCheck(w, want, false), log); err == nil {
			t.Errorf("%s was taken: %s", name, line)
		}
	}
	log := oplog(w)
	edit(log, func(e *schemas.Entry) { e.StreamTime++ })
	if _, err := run(newEntryCheck(w, want, true), log); err == nil || !strings.Contains(err.Error(), "breaks the chain") {
		t.Errorf("a broken chain: %v", err)
	}
}

func TestCopyCheck(t *testing.T) {
	w := small()
	want := w.expect()
	copies := func() [][][]byte {
		log := make([][][]byte, w.Partitions)
		for _, it := range w.items() {
			log[it.partition] = append(log[it.partition], it.value)
		}
		return log
	}
	if line, err := run(newCopyCheck(want), copies()); err != nil || line != "5000 copies, same bytes, same order" {
		t.Errorf("%q, %v", line, err)
	}
	for name, spoil := range map[string]func(log [][][]byte){
		"missing": func(log [][][]byte) { log[0] = log[0][1:] },
		"order":   func(log [][][]byte) { log[0][0], log[0][1] = log[0][1], log[0][0] },
		"content": func(log [][][]byte) { log[0][0] = []byte("x") },
	} {
		log := copies()
		spoil(log)
		if _, err := run(newCopyCheck(want), log); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTidemarkPlan(t *testing.T) {
	env := &Env{
		Brokers: []string{"h:1", "h:2"}, Work: small(), KeyFile: "/k", TidemarkGroup: "{prefix}processor",
		Tidemark: "bin/tidemark processor --brokers {brokers} --topic-prefix {prefix} --partitions {partitions} --data-dir {data} --cluster-key-file {key}",
	}
	p, err := tidemarkScenario{}.Plan(env, Job{ID: "j", Prefix: "x.", Dir: "/d"})
	if err != nil {
		t.Fatal(err)
	}
	got := p.Program.Path + " " + strings.Join(p.Program.Args, " ")
	if want := "bin/tidemark processor --brokers h:1,h:2 --topic-prefix x. --partitions 8 --data-dir /d/data --cluster-key-file /k"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if p.Group != "x.processor" || p.Output != "x.oplog" || slices.Contains(p.Topics, "x.requests") || !slices.Contains(p.Topics, "x.changelog.counters") {
		t.Errorf("plan: %+v", p)
	}
	env.Tidemark = ""
	if _, err := (tidemarkScenario{}).Plan(env, Job{}); err == nil {
		t.Error("a plan without a command line")
	}
}

func TestClusterKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	made, err := clusterKey(file)
	if err != nil {
		t.Fatal(err)
	}
	read, err := clusterKey(file)
	if err != nil || read != made || made == (schemas.ClusterKey{}) {
		t.Errorf("made %x, read %x: %v", made, read, err)
	}
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := clusterKey(file); err == nil {
		t.Error("a short key was taken")
	}
}

func TestOptions(t *testing.T) {
	o := defaults()
	o.tidemark, o.quick = "", true
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(o.scenarios, "tidemark") || !slices.Contains(o.scenarios, "streams-kv") || o.work.Requests > 50_000 {
		t.Errorf("quick options: %+v", o)
	}
	if _, err := chosen([]string{"pipe", "nonsense"}); err == nil || !strings.Contains(err.Error(), "streams-window") {
		t.Errorf("unknown scenario: %v", err)
	}
	for _, spoil := range []func(*options){
		func(o *options) { o.latency.rates = nil }, func(o *options) { o.latency.rates = []int{0} },
		func(o *options) { o.quiet.tries = 0 }, func(o *options) { o.latency.warmUp = 0 },
	} {
		o := defaults()
		spoil(o)
		if o.settle() == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestReportIsAFunctionOfResults(t *testing.T) {
	slow := report.NewLatency()
	for i := range 1000 {
		slow.Record(time.Duration(i) * time.Millisecond)
	}
	r := &Results{
		Began: time.Unix(1e9, 0), Work: *small(), Scenario: []Title{{"pipe", "the pipe"}, {"tidemark", "Tidemark"}, {"streams-kv", "Streams"}},
		Runs: []Run{
			{Scenario: "pipe", Requests: 1e6, Drain: 2 * time.Second, CPU: 3 * time.Second, RSSPeak: 64 << 20, Tries: 1, Check: "fine"},
			{Scenario: "pipe", Requests: 1e6, Drain: 4 * time.Second, CPU: 3 * time.Second, RSSPeak: 64 << 20, Tries: 2, Check: "fine"},
			{Scenario: "tidemark", Requests: 1e6, Drain: 5 * time.Second, CPU: 6 * time.Second, RSSPeak: 100 << 20, Tries: 1, Check: "fine"},
			{Scenario: "streams-kv", Requests: 1e6, Drain: 50 * time.Second, CPU: 80 * time.Second, RSSPeak: 900 << 20, Tries: 1, Check: "fine"},
		},
		Latency: []LatencyRun{
			{Scenario: "pipe", Rate: 500, Duration: time.Second, Latency: slow, Tries: 1},
			{Scenario: "tidemark", Rate: 500, Duration: time.Second, Latency: slow, Tries: 1},
		},
	}
	dir := t.TempDir()
	if err := r.write(filepath.Join(dir, resultsFile)); err != nil {
		t.Fatal(err)
	}
	back, err := report.ReadResults[Results](filepath.Join(dir, resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := reportText(r), reportText(back); a != b {
		t.Errorf("written:\n%s\nread back:\n%s", a, b)
	}
	if err := render(back, dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"375 (250–500)", "53.3 %", "fine (2 of 2 runs)", "Latency at 500 requests/s", "x1.00",
		"at least half of the ceiling's rate 0.533 yes", "at least 10 times the faster Kafka Streams 10.0 yes",
		"under 300 MB 105 MB yes", "at 500 requests/s, p99 at most 2 times the pipe's 1.00 yes"} {
		if !strings.Contains(words(text), want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "NaN") {
		t.Errorf("report has NaN:\n%s", text)
	}
	for _, plot := range []string{throughputPlot, latencyPlot(500)} {
		if _, err := os.Stat(filepath.Join(dir, plot)); err != nil {
			t.Error(err)
		}
	}
}

// words drops a table's lines and padding.
func words(text []byte) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(string(text), "|", " ")), " ")
}

func TestLiveIDs(t *testing.T) {
	o := &offer{w: small(), topic: "t"}
	p := newPhase(2, 100, time.Second)
	r := o.request(o.w.rng(0), p, 42)
	e, err := decodeEntry(r.Value)
	if err != nil || len(r.Value) != 256 {
		t.Fatalf("%v, %d bytes", err, len(r.Value))
	}
	if index, i, ok := liveID(string(e.thirdMsgID)); index != 2 || i != 42 || !ok {
		t.Errorf("%q: %d, %d, %v", e.thirdMsgID, index, i, ok)
	}
	for _, bad := range []string{"", "live-", "msg-000000000001", "live-1_000000001", "live-x-000000001", "live-1--00000001"} {
		if _, _, ok := liveID(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
	p.began = time.Unix(100, 0)
	if due := p.due(50); !due.Equal(time.Unix(100, 5e8)) {
		t.Errorf("due %v", due)
	}
}
