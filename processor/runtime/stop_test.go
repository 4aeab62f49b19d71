package runtime

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStopWithoutAnAnswer: a broker that has taken an append and never says
// what became of it does not keep a process from ending.
func TestStopWithoutAnAnswer(t *testing.T) {
	w := newWorld(t, 1)
	w.settings()
	silent := make(chan struct{}, 1)
	_, stop := w.node("a", func(c *Config) { c.DrainTimeout = 100 * time.Millisecond })
	w.produce(w.request("A", "u1", "m1"))
	w.eventually("it runs", func() bool { return len(w.log(0)) == 1 })
	topics, err := kadm.NewClient(w.client).ListTopics(t.Context(), w.topo.Oplog.Name)
	if err != nil {
		t.Fatal(err)
	}
	oplog := topics[w.topo.Oplog.Name].ID
	w.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			if topic.Topic == w.topo.Oplog.Name || topic.TopicID == [16]byte(oplog) {
				select {
				case silent <- struct{}{}:
				default:
				}
				return nil, nil, true // handled, and no word about it
			}
		}
		return nil, nil, false
	})
	w.produce(w.request("A", "u1", "m2"))
	<-silent
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the process still waits for an append that nobody answers")
	}
}
