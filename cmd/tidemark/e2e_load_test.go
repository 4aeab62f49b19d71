package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

const (
	instance  = "demo_APP1"
	clientKey = "ck-demo"
	prefix    = "tidemark."
)

const settings = `instances:
  - id: demo_APP1
    clientKey: ck-demo
    sync:
      - {bizType: CHAT, scope: specified, target: user, multiDevice: true, persistent: true, repush: {mode: queue}, online: true, description: chat}
      - {bizType: APPS, scope: specified, target: user, multiDevice: true, persistent: true, repush: {mode: queue}, online: true, description: by app}
      - {bizType: PING, scope: specified, target: device, persistent: true, repush: {mode: queue}, online: true, description: devices}
      - {bizType: NEWS, scope: global, target: user, multiDevice: true, persistent: true, repush: {mode: queue}, online: true, description: news}
`

var businesses = e2e.Businesses{{instance, "CHAT"}: {}, {instance, "APPS"}: {}, {instance, "PING"}: {}, {instance, "NEWS"}: {Global: true}}

// deadline bounds a whole test; nothing waits for it if all is well.
const deadline = 8 * time.Minute

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// startDev runs a `tidemark dev` until the test's end.
func startDev(ctx context.Context, t *testing.T, brokers []string, args ...string) *e2e.Node {
	t.Helper()
	n, err := e2e.NewNode(e2e.Config{Program: e2e.Self(), Role: "dev", Dir: t.TempDir(), Settings: settings, Brokers: brokers, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	start(ctx, t, n)
	t.Cleanup(func() { _ = n.Kill() }) // a test that cares has stopped it
	return n
}

func start(ctx context.Context, t *testing.T, n *e2e.Node) {
	t.Helper()
	if _, err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seeded gives the test's own randomness; the seed is in the log of a failure.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// user names one of the targets.
func user(i int) string { return fmt.Sprintf("user-%d", i) }

// users is how many targets the load has.
const users = 12

// device names a user's.
func device(user string) string { return "device-" + user }

// What requests for some apps only ask for, and what the devices are.
var (
	someApps = []e2e.Request{{OSType: "IOS"}, {OSType: "Android"}, {AppMinVersion: "8.9"}, {AppMinVersion: "8.11"}, {AppMaxVersion: "8.9.9"}, {}}
	apps     = []struct{ os, version string }{{"iOS", "8.10.0"}, {"Android", "8.11.1"}}
)

// request is the i-th of a sender. Each twentieth is one that it sent before;
// of ten, one is for everybody, one for some apps of a user and one for a
// device: of the first two users, who are listened to.
func request(sender string, i int) e2e.Request {
	if i%20 == 19 {
		i -= 7
	}
	r := e2e.Request{InstanceID: instance, BizType: "CHAT", LinkToken: user(i % users), ThirdMsgID: fmt.Sprintf("%s-%d", sender, i), Payload: fmt.Sprintf("payload %d of %s", i, sender)}
	if i%10 == 5 {
		r.BizType, r.LinkToken, r.Scope = "NEWS", "", "global"
	}
	switch listened := user(i / 10 % 2); i % 10 {
	case 3:
		some := someApps[i/20%len(someApps)]
		r.BizType, r.LinkToken, r.OSType, r.AppMinVersion, r.AppMaxVersion = "APPS", listened, some.OSType, some.AppMinVersion, some.AppMaxVersion
	case 7:
		r.BizType, r.LinkToken = "PING", device(listened)
	}
	return r
}

// load pushes through both doors until it is stopped.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	asked  []e2e.Asked
	kafka  []error
	sent   int
}

// loadEvery is the pause of each sender between two requests.
const loadEvery = 15 * time.Millisecond

// retryMax is how long a sender asks again for an answer that did not come.
const retryMax = 2 * time.Minute

func startLoad(ctx context.Context, t *testing.T, n *e2e.Node, name string) *load {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Brokers()...), kgo.MetadataMinAge(50*time.Millisecond), kgo.RequiredAcks(kgo.AllISRAcks()))
	must(t, err)
	l := new(load)
	going, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	for i := range 2 {
		l.wg.Go(func() { l.http(ctx, going, n, fmt.Sprintf("%s-http%d", name, i)) })
	}
	l.wg.Go(func() {
		defer client.Close()
		l.produce(ctx, going, client, name+"-kafka")
	})
	return l
}

func (l *load) http(ctx, going context.Context, n *e2e.Node, name string) {
	door := e2e.Door{URL: n.URL()}
	for i := 0; going.Err() == nil; i++ {
		r := request(name, i)
		a := e2e.Asked{Request: r}
		for until := time.Now().Add(retryMax); ctx.Err() == nil && time.Now().Before(until); {
			one, cancel := context.WithTimeout(ctx, 5*time.Second)
			a.Answer, a.Err = door.Push(one, &r)
			cancel()
			if a.Err == nil && a.Answer.Msg != "SYSTEM_ERROR" {
				break
			}
			pause(ctx, loadEvery)
		}
		l.mu.Lock()
		l.asked = append(l.asked, a)
		l.mu.Unlock()
		pause(going, loadEvery)
	}
}

func (l *load) produce(ctx, going context.Context, client *kgo.Client, name string) {
	for i := 0; going.Err() == nil; i++ {
		r := request(name, i)
		rec := &kgo.Record{Topic: prefix + "requests", Key: []byte(r.Key()), Value: r.Proto()}
		if i%2 == 0 {
			rec.Value = r.JSON()
		}
		rec.Headers = []kgo.RecordHeader{{Key: "tidemark-reply", Value: []byte("0")}, {Key: "tidemark-request-id", Value: []byte(r.ThirdMsgID)}}
		client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sent++
			if err != nil {
				l.kafka = append(l.kafka, err)
			}
		})
		pause(going, loadEvery)
	}
	_ = client.Flush(ctx) // what failed is in l.kafka
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// stop ends the load; every request of HTTP must have had its answer by then.
func (l *load) stop(t *testing.T) []e2e.Asked {
	t.Helper()
	l.cancel()
	l.wg.Wait()
	for _, a := range l.asked {
		if a.Err != nil || !a.Answer.Success {
			t.Errorf("HTTP: %+v: %+v, %v", a.Request, a.Answer, a.Err)
		}
	}
	if len(l.kafka) > 0 {
		t.Errorf("Kafka: %d of %d records failed, first: %v", len(l.kafka), l.sent, l.kafka[0])
	}
	t.Logf("load: %d over HTTP, %d over Kafka", len(l.asked), l.sent)
	return l.asked
}

// settled waits until all requests are dealt with and fails on any finding.
func settled(ctx context.Context, t *testing.T, brokers []string, pre string, asked []e2e.Asked) (*e2e.Topics, *e2e.Audit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	topics, a, err := e2e.Settled(ctx, brokers, pre, businesses, asked)
	must(t, err)
	report(t, a.Findings)
	entries := 0
	for _, log := range a.Entries {
		entries += len(log)
	}
	if entries == 0 {
		t.Error("no entry at all: the test has tested nothing")
	}
	t.Logf("audit: %d entries, %d repeats, %d orphans", entries, a.Repeats, a.Orphans)
	return topics, a
}

func report(t *testing.T, f e2e.Findings) {
	t.Helper()
	if len(f) > 0 {
		t.Errorf("%d findings:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
}

// listening runs devices, one per user named, until they hold what the audit
// says that they should.
type listening struct {
	devices []*e2e.Listener
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	mu      sync.Mutex
	want    map[string]int64 // by device and business, once it is known
	done    []error
}

func listen(ctx context.Context, n *e2e.Node, names ...string) *listening {
	ls := &listening{want: make(map[string]int64)}
	ctx, ls.cancel = context.WithCancel(ctx)
	ls.done = make([]error, len(names))
	for i, name := range names {
		d := &e2e.Listener{URL: n.URL(), Instance: instance, Key: clientKey, Device: device(name), User: name, Biz: []string{"CHAT", "APPS", "PING"}, OS: apps[i%2].os, Version: apps[i%2].version}
		d.Enough = func(l *e2e.Listener) bool {
			ls.mu.Lock()
			defer ls.mu.Unlock()
			for _, biz := range l.Biz {
				if want, known := ls.want[l.Device+biz]; !known || l.To[biz] < want {
					return false
				}
			}
			return true
		}
		ls.devices = append(ls.devices, d)
		ls.wg.Go(func() { ls.done[i] = d.Listen(ctx) })
	}
	return ls
}

// finish pushes one last item of each business to each device, so that its
// stream has events to end on, waits, and compares. It returns the audit that it compared with.
func (ls *listening) finish(ctx context.Context, t *testing.T, n *e2e.Node, asked []e2e.Asked) *e2e.Audit {
	t.Helper()
	door := e2e.Door{URL: n.URL()}
	for _, d := range ls.devices {
		for _, biz := range d.Biz {
			r := e2e.Request{InstanceID: instance, BizType: biz, LinkToken: d.User, ThirdMsgID: "last of " + d.User + " in " + biz, Payload: "end"}
			if biz == "PING" {
				r.LinkToken = d.Device
			}
			ls.mu.Lock()
			answer, err := door.Push(ctx, &r)
			ls.want[d.Device+biz] = answer.OplogID
			ls.mu.Unlock()
			must(t, err)
			asked = append(asked, e2e.Asked{Request: r, Answer: answer})
		}
	}
	_, a := settled(ctx, t, n.Brokers(), prefix, asked)
	stop := time.AfterFunc(time.Minute, ls.cancel)
	ls.wg.Wait()
	stop.Stop()
	for i, d := range ls.devices {
		if ls.done[i] != nil {
			t.Errorf("device of %s: %v", d.User, ls.done[i])
		}
		report(t, d.Compare(a))
		t.Logf("device of %s: %d, %d and %d items of %q over %d connections", d.User, len(d.Got["CHAT"]), len(d.Got["APPS"]), len(d.Got["PING"]), d.Biz, d.Connects)
	}
	return a
}

// crc32Partition is where librdkafka's default partitioner puts a key.
func crc32Partition(key string, n int) int32 {
	return int32(crc32.ChecksumIEEE([]byte(key)) % uint32(n))
}
