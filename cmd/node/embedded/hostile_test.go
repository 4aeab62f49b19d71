package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node/embedded/guard"
	"github.com/tidemarkio/tidemark/cmd/node/embedded/internal/anyreq"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	hostileFor  = flag.Duration("hostile", 2*time.Second, "how long to send odd requests")
	hostileSeed = flag.Uint64("hostile.seed", 0, "of the odd requests; 0: by the clock")
)

// TestHostileClients sends what the protocol allows and what it does not, on
// many connections at once. The broker must go on serving an honest client,
// whose topic keeps exactly what was written to it. (A panic in the broker ends
// this process, so there is nothing to catch.)
func TestHostileClients(t *testing.T) {
	seed := *hostileSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-hostile.seed=%d", seed)
	b := start(t, Config{Dir: t.TempDir(), Topics: []topology.Topic{simple("honest", 1), simple("odd", 2)}})
	honest := client(t, b)
	produce(t, honest, "honest", "1")

	deadline := time.Now().Add(*hostileFor)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			h := hostile{t: t, addr: b.Addr(), r: rand.New(rand.NewPCG(seed, uint64(i)))}
			h.run(b, deadline)
		})
	}
	wg.Wait()

	produce(t, honest, "honest", "2")
	if got := read(t, b, "honest", 2); got[0] != "1" || got[1] != "2" {
		t.Errorf("the honest topic holds %q", got)
	}
	end, err := kadm.NewClient(honest).ListEndOffsets(t.Context(), "honest")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := end.Lookup("honest", 0); o.Offset != 2 {
		t.Errorf("the honest topic ends at %d, want 2", o.Offset)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 1<<30 {
		t.Errorf("%d MiB of heap after the attack", m.HeapAlloc>>20)
	}
	b.Close()
	start(t, Config{Dir: b.cfg.Dir}) // and what it left on disk can be read
}

type hostile struct {
	t    *testing.T
	addr string
	r    *rand.Rand
	conn net.Conn
	pool anyreq.Pool
}

// run sends until the deadline.
func (h *hostile) run(b *Broker, deadline time.Time) {
	h.pool = anyreq.Pool{
		Strings: []string{"odd", "odd", "g1", "g2", "m", "consumer", "range", "uniform", "retention.ms", "segment.bytes", "cleanup.policy", "compact"},
		IDs:     [][16]byte{b.Cluster().TopicInfo("odd").TopicID},
		Bytes:   oddBytes,
		Leave:   map[string]bool{"FetchRequest.ClusterID": true, "FetchRequest.ReplicaState": true},
	}
	keys := hostileKeys()
	members := []*oddMember{newOddMember(h.r), newOddMember(h.r)}
	defer h.close()
	for time.Now().Before(deadline) && !h.t.Failed() {
		if h.r.IntN(2) == 0 {
			i := h.r.IntN(len(members))
			req := members[i].next(h.r, h.pool.IDs[0])
			members[i].learn(h.ask(req))
			if h.r.IntN(50) == 0 {
				members[i] = newOddMember(h.r)
			}
			continue
		}
		key := keys[h.r.IntN(len(keys))]
		limit, ok := guard.Versions().LookupMaxKeyVersion(key)
		if !ok {
			limit = 3
		}
		req := anyreq.Make(h.r, key, int16(h.r.IntN(int(limit)+2)), h.pool)
		if req == nil {
			continue
		}
		h.tame(req)
		frame := anyreq.Frame(req, 1, "odd")
		if h.r.IntN(3) == 0 {
			h.damage(frame)
		}
		h.send(frame)
	}
}

// ask sends a request in order and reads its answer, nil if there is none.
func (h *hostile) ask(req kmsg.Request) kmsg.Response {
	answer := h.send(anyreq.Frame(req, 1, "odd"))
	resp := req.ResponseKind()
	skip := 4
	if resp.IsFlexible() {
		skip++
	}
	if len(answer) < skip || resp.ReadFrom(answer[skip:]) != nil {
		return nil
	}
	return resp
}

// hostileKeys is every key there is, those that the broker serves thrice.
func hostileKeys() (keys []int16) {
	v := guard.Versions()
	for key := range int16(95) {
		keys = append(keys, key)
		if v.HasKey(key) {
			keys = append(keys, key, key)
		}
	}
	return keys
}

// tame keeps the odd requests off the honest topic's ways: they may not delete
// what the others are to be tried on, nor wait for longer than the test.
func (h *hostile) tame(req kmsg.Request) {
	switch r := req.(type) {
	case *kmsg.FetchRequest:
		r.MaxWaitMillis = min(r.MaxWaitMillis, 5)
	case *kmsg.DeleteTopicsRequest:
		if h.r.IntN(50) > 0 {
			r.TopicNames, r.Topics = nil, nil
		}
	case *kmsg.JoinGroupRequest:
		r.SessionTimeoutMillis = 6000
		r.RebalanceTimeoutMillis = min(r.RebalanceTimeoutMillis, 10)
	}
}

func (h *hostile) damage(frame []byte) {
	switch h.r.IntN(3) {
	case 0: // a few bytes of the body, not of its length
		for range 1 + h.r.IntN(4) {
			if len(frame) > 12 {
				frame[12+h.r.IntN(len(frame)-12)] = byte(h.r.Uint32())
			}
		}
	case 1: // cut short, with the length to match
		n := min(len(frame), 8+h.r.IntN(len(frame)))
		binary.BigEndian.PutUint32(frame[:n], uint32(n-4))
	case 2: // a large count somewhere
		if len(frame) > 20 {
			binary.BigEndian.PutUint32(frame[12+h.r.IntN(len(frame)-16):], 0x7fffffff)
		}
	}
}

// send sends one frame and returns the answer, if one comes.
func (h *hostile) send(frame []byte) []byte {
	if h.conn == nil {
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			h.t.Errorf("the broker is gone: %v", err)
			return nil
		}
		h.conn = c
	}
	h.conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := h.conn.Write(frame); err != nil {
		h.close()
		return nil
	}
	var size [4]byte
	if _, err := io.ReadFull(h.conn, size[:]); err != nil {
		h.close()
		return nil
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(h.conn, answer); err != nil {
		h.close()
		return nil
	}
	return answer
}

func (h *hostile) close() {
	if h.conn != nil {
		h.conn.Close()
		h.conn = nil
	}
}

// oddBytes is a record batch with a good CRC and odd contents, or a consumer's
// group metadata.
func oddBytes(r *rand.Rand) []byte {
	switch r.IntN(4) {
	case 0:
		m := kmsg.NewConsumerMemberMetadata()
		m.Version = int16(r.IntN(5))
		m.Topics = []string{"odd", "none"}
		b := m.AppendTo(nil)
		b[r.IntN(len(b))] = byte(r.Uint32())
		return b
	case 1:
		m := kmsg.NewConsumerMemberAssignment()
		b := m.AppendTo(nil)
		return b
	}
	records := int32(r.IntN(3))
	b := oddBatch(records, r)
	if r.IntN(2) == 0 {
		at := 21 + r.IntN(len(b)-21)
		b[at] = byte(r.Uint32())
		seal(b)
	}
	return b
}

// oddBatch is a batch that is in order.
func oddBatch(records int32, r *rand.Rand) []byte {
	rb := kmsg.RecordBatch{Magic: 2, NumRecords: records, LastOffsetDelta: records - 1, ProducerID: int64(r.IntN(3)) - 1, FirstSequence: -1}
	for i := range records {
		rec := kmsg.Record{OffsetDelta: i, Key: []byte("k"), Value: []byte("value")}
		body := rec.AppendTo(nil)
		rec.Length = int32(len(body) - 1)
		rb.Records = rec.AppendTo(rb.Records)
	}
	b := rb.AppendTo(nil)
	seal(b)
	return b
}

func seal(b []byte) {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
}

func TestRefusals(t *testing.T) {
	var log bytes.Buffer
	b := start(t, Config{Dir: t.TempDir(), Topics: []topology.Topic{simple("a", 1)}, Logger: textLogger(&log)})
	adm := kadm.NewClient(client(t, b))

	tx := client(t, b, kgo.TransactionalID("tx"), kgo.RequestRetries(1))
	if err := tx.BeginTransaction(); !errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
		t.Errorf("begin a transaction: %v", err)
	}
	if !bytes.Contains(log.Bytes(), []byte("--brokers")) {
		t.Errorf("the log says nothing about transactions: %s", &log)
	}
	for name, call := range map[string]func() error{
		"a topic of 5000 partitions": func() error {
			_, err := adm.CreateTopic(t.Context(), 5000, 1, nil, "large")
			return err
		},
		"a topic named ../x": func() error {
			_, err := adm.CreateTopic(t.Context(), 1, 1, nil, "../x")
			return err
		},
		"100000 more partitions": func() error {
			rs, err := adm.UpdatePartitions(t.Context(), 100_000, "a")
			return errors.Join(err, rs.Error())
		},
		"the broker's settings": func() error {
			rs, err := adm.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: "log.retention.ms", Value: kadm.StringPtr("1")}}, 0)
			for _, r := range rs {
				err = errors.Join(err, r.Err)
			}
			return err
		},
		"deleting records": func() error {
			o := kadm.Offsets{}
			o.AddOffset("a", 0, 0, -1)
			rs, err := adm.DeleteRecords(t.Context(), o)
			return errors.Join(err, rs.Error())
		},
	} {
		if err := call(); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}

// TestBadBatchIsRefusedAlone: its neighbours in the request are stored, and
// the producer's sequence is not touched.
func TestBadBatchIsRefusedAlone(t *testing.T) {
	b := start(t, Config{Topics: []topology.Topic{simple("a", 4)}})
	r := rand.New(rand.NewPCG(1, 1))
	spoil := []func(b []byte){
		func([]byte) {},
		func(b []byte) {
			b[60], b[26] = 0xfb, 0xfa
			b[57], b[58], b[59], b[23], b[24], b[25] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
		}, // -5 records
		func(b []byte) { b[22] |= 0x10 }, // a transaction
		func(b []byte) { b[61] = 0x7f },  // a record's length
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "a"
	for i, change := range spoil {
		raw := oddBatch(2, r)
		change(raw)
		seal(raw)
		topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(i), Records: raw})
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), client(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range resp.Topics[0].Partitions {
		var want error
		end := int64(2)
		if p.Partition > 0 {
			want, end = kerr.InvalidRecord, 0
		}
		if err := kerr.ErrorForCode(p.ErrorCode); !errors.Is(err, want) {
			t.Errorf("batch %d: %v, want %v", p.Partition, err, want)
		}
		if info := b.Cluster().PartitionInfo("a", p.Partition); info.HighWatermark != end {
			t.Errorf("batch %d: the partition ends at %d", p.Partition, info.HighWatermark)
		}
	}
}
