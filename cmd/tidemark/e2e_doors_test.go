package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/cmd/internal/e2e"
)

// send writes records to the requests topic in order, each where it says.
func send(ctx context.Context, t *testing.T, n *e2e.Node, records ...*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1<<20))
	must(t, err)
	defer client.Close()
	for _, r := range records {
		r.Topic = prefix + "requests"
	}
	must(t, client.ProduceSync(ctx, records...).FirstErr())
}

func chat(link, third string) e2e.Request {
	return e2e.Request{InstanceID: instance, BizType: "CHAT", LinkToken: link, ThirdMsgID: third, Payload: "text of " + third}
}

// partitions of `tidemark dev`.
const partitions = 8

// home is the partition that Kafka's own partitioner gives a request.
func home(r *e2e.Request) int32 { return e2e.PartitionOf(r.Key(), partitions) }

func push(ctx context.Context, t *testing.T, n *e2e.Node, r e2e.Request) e2e.Asked {
	t.Helper()
	door := e2e.Door{URL: n.URL()}
	a, err := door.Push(ctx, &r)
	must(t, err)
	return e2e.Asked{Request: r, Answer: a}
}

// entriesOf gives the thirdMsgIds that the oplog holds for a user, by id.
func entriesOf(a *e2e.Audit, link string) (thirds []string) {
	for _, log := range a.Entries {
		for _, e := range log {
			if e.LinkToken == link {
				thirds = append(thirds, e.ThirdMsgID)
			}
		}
	}
	return thirds
}

// TM-1 to TM-3, and foreign partitioners: what comes by Kafka is as what comes
// by HTTP, one key makes one oplog, order stays.
func TestTM1TM2TM3BothDoorsAreOne(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	devices := listen(ctx, n, "u")
	var asked []e2e.Asked
	var want []string
	for i := range 30 {
		third := fmt.Sprintf("m%02d", i)
		r := chat("u", third)
		want = append(want, third)
		kafka := &kgo.Record{Partition: home(&r), Key: []byte("u"), Value: r.Proto()}
		if i%2 == 0 { // over HTTP first
			asked = append(asked, push(ctx, t, n, r))
			send(ctx, t, n, kafka)
			continue
		}
		send(ctx, t, n, kafka)
		again := push(ctx, t, n, r)
		if again.Answer.Msg != "DUPLICATED_BIZ_ID" || again.Answer.OplogID != int64(i+1) {
			t.Errorf("repeat over HTTP of %s: %+v", third, again.Answer)
		}
		asked = append(asked, again)
	}
	a := devices.finish(ctx, t, n, asked)
	if got := entriesOf(a, "u"); fmt.Sprint(got) != fmt.Sprint(append(want, "last of u in CHAT", "last of u in APPS")) {
		t.Errorf("oplogs of u: %v", got)
	}
	must(t, n.Stop())
}

// Records of a producer with librdkafka's partitioner reach their partition,
// in order, once.
func TestForeignPartitionerIsForwardedInOrderOnce(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	const each = 20
	var records []*kgo.Record
	foreign := 0
	for i := range each {
		for u := range users {
			r := chat(user(u), fmt.Sprintf("m%02d", i))
			p := crc32Partition(r.Key(), partitions)
			if p != home(&r) {
				foreign++
			}
			records = append(records, &kgo.Record{Partition: p, Key: []byte(r.Key()), Value: r.JSON()})
		}
	}
	if foreign == 0 {
		t.Fatal("the two partitioners agree on every key: nothing is tested")
	}
	send(ctx, t, n, records...)
	_, a := settled(ctx, t, n.Brokers(), prefix, nil)
	for u := range users {
		got := entriesOf(a, user(u))
		if len(got) != each {
			t.Errorf("%s has %d oplogs", user(u), len(got))
		}
		for i, third := range got {
			if third != fmt.Sprintf("m%02d", i) {
				t.Errorf("%s: oplog %d is %s", user(u), i+1, third)
			}
		}
	}
	must(t, n.Stop())
}

// TM-4: poison goes to rejects with a reason and blocks nothing.
func TestTM4PoisonIsRejectedAndBlocksNothing(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	good := func(i int) *kgo.Record {
		r := chat("u", fmt.Sprint("good", i))
		return &kgo.Record{Partition: home(&r), Key: []byte("u"), Value: r.Proto()}
	}
	u := chat("u", "x")
	long := chat("u", "long")
	long.Payload = string(bytes.Repeat([]byte("x"), 900<<10)) // a batch of the broker holds 1 MB
	noID, unknown := chat("u", ""), chat("u", "unknown")
	unknown.BizType = "NOPE"
	records := []*kgo.Record{good(0)}
	poison := [][]byte{
		nil, {}, []byte("{"), []byte(`{"instanceId":7}`), []byte("\x0a\xff\xff"), []byte("\xff\xfe\xfd"),
		[]byte(`{"instanceId":"demo_APP1","bizType":"CHAT","linkToken":"u","thirdMsgId":"bad","payload":"` + "\xff" + `"}`),
		bytes.Repeat([]byte("["), 100_000), append([]byte("{\"a\":"), bytes.Repeat([]byte("["), 100_000)...),
		long.Proto(), noID.JSON(), unknown.Proto(),
	}
	for i, value := range poison {
		records = append(records, &kgo.Record{Partition: home(&u), Key: []byte("u"), Value: value}, good(i+1))
	}
	send(ctx, t, n, records...)
	topics, a := settled(ctx, t, n.Brokers(), prefix, nil)
	if got := entriesOf(a, "u"); len(got) != len(poison)+1 {
		t.Errorf("%d of %d good requests have an oplog", len(got), len(poison)+1)
	}
	rejects := 0
	for _, log := range topics.Rejects {
		rejects += len(log)
	}
	if rejects < len(poison) {
		t.Errorf("%d rejects for %d poison records", rejects, len(poison))
	}
	// 10 MB are more than a broker takes; over HTTP they end in an answer.
	long.Payload = string(bytes.Repeat([]byte("x"), 10<<20))
	door := e2e.Door{URL: n.URL()}
	if answer, err := door.Push(ctx, &long); err == nil && answer.Success {
		t.Errorf("10 MB over HTTP: %+v", answer)
	}
	if after := push(ctx, t, n, chat("u", "after")); !after.Answer.Success {
		t.Errorf("after 10 MB: %+v", after.Answer)
	}
	must(t, n.Stop())
}

// TM-6: what was answered success:true is there although the process dies at
// that very moment.
func TestTM6SuccessSurvivesTheProcess(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	var asked []e2e.Asked
	for i := range 5 {
		asked = append(asked, push(ctx, t, n, chat("u", fmt.Sprint("m", i))))
		must(t, n.Kill())
		start(ctx, t, n)
	}
	_, a := settled(ctx, t, n.Brokers(), prefix, asked)
	if got := entriesOf(a, "u"); len(got) != len(asked) {
		t.Errorf("%d oplogs for %d answers", len(got), len(asked))
	}
	must(t, n.Stop())
}

// TM-8: the same requests in an empty system make the same oplogs, byte for
// byte; the settings are in them as control records.
func TestTM8ReplayIsByteIdentical(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	l := startLoad(ctx, t, n, "replay")
	pause(ctx, 3*time.Second) // how much is pushed
	asked := l.stop(t)
	_, first := settled(ctx, t, n.Brokers(), prefix, asked)

	empty, err := e2e.NewNode(e2e.Config{Program: e2e.Self(), Role: "processor", Dir: t.TempDir(), Brokers: n.Brokers(), Args: []string{
		"--topic-prefix", "replay.", "--cluster-key-file", filepath.Join(n.DataDir(), "cluster.key"),
	}})
	must(t, err)
	start(ctx, t, empty)
	t.Cleanup(func() { _ = empty.Kill() })
	copyRequests(ctx, t, n, "replay.requests")
	_, second := settled(ctx, t, n.Brokers(), "replay.", asked)
	report(t, e2e.SameLogs(first, second))
	must(t, empty.Stop())
	must(t, n.Stop())
}

func copyRequests(ctx context.Context, t *testing.T, n *e2e.Node, to string) {
	t.Helper()
	logs, err := e2e.ReadTopic(ctx, n.Brokers(), prefix+"requests")
	must(t, err)
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	defer client.Close()
	for p, log := range logs {
		var records []*kgo.Record
		for i, r := range log {
			if r.Offset != int64(i) {
				t.Fatalf("requests %d has no offset %d: a copy would have other positions", p, i)
			}
			c := &kgo.Record{Topic: to, Partition: int32(p), Key: r.Key, Value: r.Value}
			for k, v := range r.Headers {
				c.Headers = append(c.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
			}
			records = append(records, c)
		}
		must(t, client.ProduceSync(ctx, records...).FirstErr())
	}
}

// TM-10 and the drain: readyz says so only while requests are accepted, and
// SIGTERM under load ends with exit code 0 and answers nothing falsely.
func TestTM10ReadyMeansServingAndTermDrains(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	var asked []e2e.Asked
	for i := range 3 {
		// The first request after readyz answered, at once.
		asked = append(asked, push(ctx, t, n, chat("u", fmt.Sprint("first", i))))
		if !asked[i].Answer.Success {
			t.Errorf("ready, and the first request is answered %+v", asked[i].Answer)
		}
		l := startLoad(ctx, t, n, fmt.Sprint("drain", i))
		pause(ctx, 300*time.Millisecond)
		if err := n.Stop(); err != nil {
			t.Error(n.Explain(err))
		}
		if err := n.Ready(ctx); err == nil {
			t.Error("stopped, and readyz still answers")
		}
		start(ctx, t, n)
		asked = append(asked, l.stop(t)...)
	}
	settled(ctx, t, n.Brokers(), prefix, asked)
	must(t, n.Stop())
}

// TM-9, and TM-7 as far as one node goes: a slow device and one that is cut
// off by restarts (process and embedded broker) get each item once, in order.
func TestTM9SlowAndCutOffDevicesGetEachOnce(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	devices := listen(ctx, n, user(0), user(1))
	slow := devices.devices[0]
	slow.Pause = func() { pause(ctx, 20*time.Millisecond) }
	l := startLoad(ctx, t, n, "devices")
	for range 3 {
		pause(ctx, 500*time.Millisecond)
		must(t, n.Stop())
		start(ctx, t, n)
	}
	devices.finish(ctx, t, n, l.stop(t))
	must(t, n.Stop())
}

// A lost disk: the stores are gone, the topics are not. Ids go on, a repeat is
// still known.
func TestLostStoresAreRestored(t *testing.T) {
	ctx := within(t)
	n := startDev(ctx, t, nil)
	l := startLoad(ctx, t, n, "lost")
	pause(ctx, 2*time.Second) // how much is pushed
	asked := l.stop(t)
	settled(ctx, t, n.Brokers(), prefix, asked)
	must(t, n.Kill())
	stores := filepath.Join(n.DataDir(), "state")
	if found, err := filepath.Glob(filepath.Join(stores, "task-*")); err != nil || len(found) != partitions {
		t.Fatalf("stores to lose: %v, %v", found, err)
	}
	must(t, os.RemoveAll(stores))
	start(ctx, t, n)
	for _, before := range asked[:min(len(asked), 40)] {
		r := before.Request
		again := push(ctx, t, n, r)
		if again.Answer.Msg != "DUPLICATED_BIZ_ID" {
			t.Errorf("%s after the loss: %+v", r.ThirdMsgID, again.Answer)
		}
		asked = append(asked, again)
	}
	settled(ctx, t, n.Brokers(), prefix, asked)
	must(t, n.Stop())
}
