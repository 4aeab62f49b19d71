package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"
)

// Record is what an audit needs of a record; its place in the slice is not its
// offset.
type Record struct {
	Offset     int64
	Key, Value []byte
	Headers    map[string]string
}

// Topics are logs read to their ends, by partition.
type Topics struct {
	Requests, Oplog, Broadcast, Results, Rejects [][]Record
}

// Business is one that requests may be made for; all are online.
type Business struct{ Global, NonPersistent bool }

// Businesses by instance and bizType.
type Businesses map[[2]string]Business

// Asked is a request over HTTP and what was answered; Err: no answer came.
type Asked struct {
	Request Request
	Answer  Answer
	Err     error
}

// logKey names one gapless row of ids; msgKey what may be accepted once.
type logKey struct{ instance, biz, link string }

type msgKey struct {
	logKey
	third string
}

func keyOf(r *Request) msgKey {
	k := msgKey{logKey{r.InstanceID, r.BizType, r.LinkToken}, r.ThirdMsgID}
	if r.Global() {
		k.link = ""
	}
	return k
}

// Findings is what an audit has to say: nothing, if all is well.
type Findings []string

func (f *Findings) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// Audit judges topics.
type Audit struct {
	Findings   Findings
	Covered    []int64    // per partition: every request up to here is dealt with
	Entries    [][]*Entry // per partition: what the reader's rule accepts
	Values     [][][]byte // their bytes
	Repeats    int
	Orphans    int
	businesses Businesses
	once       map[msgKey]*Entry
	at         []map[int64]*Entry // per partition, by request offset
}

// Check audits topics in which every request has been dealt with; see
// [Audit.Behind].
func Check(t *Topics, businesses Businesses, asked []Asked) *Audit {
	n := len(t.Oplog)
	a := &Audit{
		businesses: businesses, once: make(map[msgKey]*Entry), at: make([]map[int64]*Entry, n),
		Covered: make([]int64, n), Entries: make([][]*Entry, n), Values: make([][][]byte, n),
	}
	for p := range t.Oplog {
		a.read(p, t.Oplog[p])
	}
	a.ids()
	a.requests(t)
	a.broadcast(t)
	a.results(t)
	a.answers(asked)
	return a
}

// Behind says how many requests no entry or marker covers yet.
func (a *Audit) Behind(t *Topics) (n int64) {
	for p, log := range t.Requests {
		if len(log) > 0 {
			n += max(0, log[len(log)-1].Offset-a.Covered[p])
		}
	}
	return n
}

// read applies the reader's rule as schemas/tidemark.proto words it.
func (a *Audit) read(p int, log []Record) {
	position, chain, orphan := int64(-1), [16]byte{}, int64(-1)
	a.Covered[p] = -1
	a.at[p] = make(map[int64]*Entry)
	values := make(map[int64][]byte)
	for _, r := range log {
		e, err := decodeEntry(r.Value)
		if err != nil {
			a.Findings.add("oplog %d@%d: %v", p, r.Offset, err)
			continue
		}
		switch {
		case e.Marker():
			if e.PrevOffset == position {
				a.Covered[p] = max(a.Covered[p], e.RequestOffset)
			}
		case e.PrevOffset < position:
			a.Repeats++
			if old, ok := values[e.RequestOffset]; !ok || !bytes.Equal(old, r.Value) {
				a.Findings.add("I4: oplog %d@%d repeats request %d with other bytes", p, r.Offset, e.RequestOffset)
			}
		case e.PrevOffset > position:
			a.Orphans++
			orphan = max(orphan, e.RequestOffset)
		default:
			canonical := r.Value[:len(r.Value)-chainSuffix]
			chain = xxh3.Hash128(append(chain[:len(chain):len(chain)], canonical...)).Bytes()
			if chain != e.Chain {
				a.Findings.add("oplog %d@%d: chain is %x, must be %x", p, r.Offset, e.Chain, chain)
				return
			}
			if !bytes.Equal(e.canonical(), canonical) {
				a.Findings.add("oplog %d@%d: not in canonical form", p, r.Offset)
			}
			if e.RequestOffset <= position {
				a.Findings.add("I1: oplog %d@%d: request %d after request %d", p, r.Offset, e.RequestOffset, position)
			}
			position = e.RequestOffset
			a.Covered[p] = max(a.Covered[p], position)
			a.at[p][position], values[position] = e, r.Value
			a.Entries[p], a.Values[p] = append(a.Entries[p], e), append(a.Values[p], r.Value)
		}
	}
	if orphan > position {
		a.Findings.add("oplog %d: the entry of request %d was orphaned and never came again", p, orphan)
	}
}

// ids checks I1 and the half of I2 that the oplog shows alone.
func (a *Audit) ids() {
	last := make(map[logKey]int64)
	for p, log := range a.Entries {
		for _, e := range log {
			k := keyOf(&e.Request)
			if e.OplogID != last[k.logKey]+1 {
				a.Findings.add("I1: %v: oplog id %d after %d (partition %d, request %d)", k.logKey, e.OplogID, last[k.logKey], p, e.RequestOffset)
			}
			last[k.logKey] = e.OplogID
			if old := a.once[k]; old != nil {
				a.Findings.add("I2: %v is accepted twice, as %d and %d", k, old.OplogID, e.OplogID)
				continue
			}
			a.once[k] = e
		}
	}
}

// parse reads a request as the Kafka door is documented to.
func parse(r Record) (*Request, bool) {
	q := new(Request)
	if form := r.Headers["content-type"]; form == "application/json" || form == "" && bytes.HasPrefix(r.Value, []byte("{")) {
		return q, utf8.Valid(r.Value) && json.Unmarshal(r.Value, q) == nil
	}
	all, err := fields(r.Value)
	if err != nil || len(all) == 0 {
		return nil, false
	}
	for _, f := range all {
		if q.set(f) != nil {
			return nil, false
		}
	}
	return q, true
}

// valid says whether a request must be accepted, if it is the first of its key.
func (a *Audit) valid(q *Request) bool {
	b, known := a.businesses[[2]string{q.InstanceID, q.BizType}]
	return known && b.Global == q.Global() && (q.LinkToken != "") != q.Global() && q.ThirdMsgID != "" &&
		(q.Payload == "") != (len(q.Binary) == 0) && len(q.Payload) <= 4096 && len(q.Binary) <= 3072
}

// murmur2 is Kafka's own partitioner, as its client library has it.
var murmur2 = kgo.StickyKeyPartitioner(nil).ForTopic("")

// PartitionOf is where Kafka's own partitioner puts a key.
func PartitionOf(key string, n int) int32 {
	return int32(murmur2.Partition(&kgo.Record{Key: []byte(key)}, n))
}

// requests checks that each request has become what it must: an entry, a
// repeat of one, a copy in the right partition, or a reject.
func (a *Audit) requests(t *Topics) {
	rejected := a.rejects(t)
	for p, log := range t.Requests {
		for _, r := range log {
			if _, control := r.Headers["tidemark-control"]; control || r.Offset > a.Covered[p] {
				continue
			}
			e, refused := a.at[p][r.Offset], rejected[[2]int64{int64(p), r.Offset}]
			q, ok := parse(r)
			switch {
			case !ok || !a.valid(q):
				if e != nil {
					a.Findings.add("I3: the bad request %d@%d left an entry", p, r.Offset)
				}
				if !refused {
					a.Findings.add("the bad request %d@%d is not in rejects", p, r.Offset)
				}
				continue
			case refused:
				a.Findings.add("the good request %d@%d (%v) is in rejects", p, r.Offset, keyOf(q))
			}
			a.accepted(t, p, r, q, e)
		}
	}
	for p, byOffset := range a.at {
		for offset := range byOffset {
			if !holds(t.Requests[p], offset) {
				a.Findings.add("oplog %d: no request %d", p, offset)
			}
		}
	}
}

func holds(log []Record, offset int64) bool {
	if len(log) == 0 {
		return false
	}
	i := offset - log[0].Offset
	return i >= 0 && i < int64(len(log)) && log[i].Offset == offset
}

func (a *Audit) accepted(t *Topics, p int, r Record, q *Request, e *Entry) {
	k := keyOf(q)
	first := a.once[k]
	right := int(PartitionOf(q.Key(), len(t.Requests)))
	switch {
	case first == nil:
		a.Findings.add("I3: request %d@%d (%v) has no entry", p, r.Offset, k)
	case right != p:
		if e != nil {
			a.Findings.add("the foreign request %d@%d has an entry there, not in %d", p, r.Offset, right)
		}
	case e == nil && first.RequestOffset > r.Offset:
		a.Findings.add("I1: request %d@%d (%v) was passed over for request %d", p, r.Offset, k, first.RequestOffset)
	case e != nil && (e.Payload != q.Payload || !bytes.Equal(e.Binary, q.Binary) || keyOf(&e.Request) != k):
		a.Findings.add("oplog %d: the entry of request %d holds something else", p, r.Offset)
	}
}

// rejects gives the positions that were refused.
func (a *Audit) rejects(t *Topics) map[[2]int64]bool {
	refused := make(map[[2]int64]bool)
	for p, log := range t.Rejects {
		for _, r := range log {
			res, err := decodeResult(r.Value)
			switch {
			case err != nil:
				a.Findings.add("rejects %d@%d: %v", p, r.Offset, err)
				continue
			case res.Success || res.Msg == "" || res.Reason == "" || len(res.Value) > 1024:
				a.Findings.add("rejects %d@%d: success %t, msg %q, reason %q, %d bytes of the value", p, r.Offset, res.Success, res.Msg, res.Reason, len(res.Value))
			}
			refused[[2]int64{int64(res.RequestPartition), res.RequestOffset}] = true
		}
	}
	return refused
}

// broadcast checks that the topic holds the global entries, those only, and
// in their order.
func (a *Audit) broadcast(t *Topics) {
	last := make(map[logKey]int64)
	seen := make(map[msgKey]bool)
	for p, log := range t.Broadcast {
		for _, r := range log {
			e, err := decodeEntry(r.Value)
			if err != nil {
				a.Findings.add("broadcast %d@%d: %v", p, r.Offset, err)
				continue
			}
			k := keyOf(&e.Request)
			if first := a.once[k]; first == nil || first.Chain != e.Chain || first.OplogID != e.OplogID {
				a.Findings.add("broadcast %d@%d: %v is no copy of an entry", p, r.Offset, k)
			}
			if e.OplogID > last[k.logKey]+1 {
				a.Findings.add("broadcast %d@%d: %v: oplog id %d after %d", p, r.Offset, k.logKey, e.OplogID, last[k.logKey])
			}
			last[k.logKey] = max(last[k.logKey], e.OplogID)
			seen[k] = true
		}
	}
	for k, e := range a.once {
		if e.Global() && !seen[k] {
			a.Findings.add("broadcast lacks %v, oplog id %d", k, e.OplogID)
		}
	}
}

func (a *Audit) results(t *Topics) {
	for p, log := range t.Results {
		for _, r := range log {
			res, err := decodeResult(r.Value)
			if err != nil {
				a.Findings.add("results %d@%d: %v", p, r.Offset, err)
				continue
			}
			k := msgKey{logKey{res.InstanceID, res.BizType, res.LinkToken}, res.ThirdMsgID}
			if a.businesses[[2]string{k.instance, k.biz}].Global {
				k.link = ""
			}
			e := a.once[k]
			where := fmt.Sprintf("result %d@%d", p, r.Offset)
			a.outcome(where, k, res.Success, res.Msg, res.OplogID, e)
			q := int(res.RequestPartition)
			if !res.Success && q >= 0 && q < len(a.at) && a.at[q][res.RequestOffset] != nil {
				a.Findings.add("I3: %s says %s, and the request left an entry", where, res.Msg)
			}
		}
	}
}

// answers checks what HTTP callers were told. A refusal of a key that others
// asked for too says nothing about the oplog; those are the results' business.
func (a *Audit) answers(asked []Asked) {
	for i := range asked {
		q := &asked[i]
		if q.Err != nil || q.Answer.Msg == "SYSTEM_ERROR" {
			continue // outcome unknown
		}
		k := keyOf(&q.Request)
		a.outcome("HTTP answer", k, q.Answer.Success, q.Answer.Msg, q.Answer.OplogID, a.once[k])
	}
}

// outcome checks a success against the oplog (I2 and I3).
func (a *Audit) outcome(where string, k msgKey, success bool, msg string, id int64, e *Entry) {
	if !success {
		return
	}
	switch {
	case e == nil:
		a.Findings.add("I3: %s says %s for %v, which is not in the oplog", where, msg, k)
	case e.OplogID != id:
		a.Findings.add("I2: %s says %s with oplog id %d for %v, which is %d", where, msg, id, k, e.OplogID)
	}
}

// SameLogs compares what two systems made of the same requests, byte for byte.
func SameLogs(a, b *Audit) (f Findings) {
	for p := range max(len(a.Values), len(b.Values)) {
		if p >= len(a.Values) || p >= len(b.Values) || len(a.Values[p]) != len(b.Values[p]) {
			f.add("TM-8: oplog %d differs in length", p)
			continue
		}
		for i := range a.Values[p] {
			if !bytes.Equal(a.Values[p][i], b.Values[p][i]) {
				f.add("TM-8: oplog %d differs at its entry %d", p, i)
				break
			}
		}
	}
	return f
}
