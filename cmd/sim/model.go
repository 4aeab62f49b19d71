package sim

import (
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// model is the rules of sync once more, as dumb as possible: one request after
// the other, plain maps, no overlay, no flight, no failure. What it says is
// what the log and the side topics must hold in the end.
type model struct {
	topo      *topology.Topology
	partition int32

	settings map[string]map[string]schemas.SyncConfig
	revision int64
	time     int64
	counters map[string]int64
	accepted map[string]remembered
	last     int64 // position of the last entry
	chain    [16]byte

	outcomes []*outcome // by offset; nil: no record there
}

// remembered is a dedupe key.
type remembered struct {
	id, bucket, position int64
}

// outcome is what one request must lead to, and the state after it.
type outcome struct {
	entry   []byte // its record in the oplog, or nil
	counter string // of the entry
	dedupe  string
	id      int64
	bucket  int64
	answers int64 // position of the entry that its answer promises; -1: none
	sides   []*side

	last     int64
	chain    [16]byte
	time     int64
	revision int64
}

// side is a side output that must come at least once.
type side struct {
	kind      processor.Kind
	partition int32
	key       string
	value     string
	code      schemas.Code
	id        int64
	seen      int
}

func newModel(topo *topology.Topology, partition int32) *model {
	return &model{
		topo: topo, partition: partition, last: -1,
		settings: map[string]map[string]schemas.SyncConfig{}, counters: map[string]int64{}, accepted: map[string]remembered{},
	}
}

// add takes the next request, or nil for an offset without one.
func (m *model) add(q *request) {
	if q == nil {
		m.outcomes = append(m.outcomes, nil)
		return
	}
	o := &outcome{answers: -1}
	m.decide(q, int64(len(m.outcomes)), o)
	o.last, o.chain, o.time, o.revision = m.last, m.chain, m.time, m.revision
	m.outcomes = append(m.outcomes, o)
}

func (m *model) decide(q *request, offset int64, o *outcome) {
	if q.control != nil {
		m.apply(q.control)
		return
	}
	if q.unreadable {
		m.refuse(q, o, q.refuse)
		return
	}
	if key := q.key(); key != "" && m.topo.Of(key) != m.partition {
		o.sides = append(o.sides, &side{kind: processor.Forward, partition: m.topo.Of(key), key: key, value: string(q.rec.Value)})
		return
	}
	sync, fault := m.fault(q)
	if fault != "" {
		m.refuse(q, o, fault)
		return
	}
	counter := fmt.Sprintf("%q %q %q", q.instance, q.biz, q.link)
	if q.global {
		counter = fmt.Sprintf("%q %q", q.instance, q.biz)
	}
	dedupe := fmt.Sprintf("%s %q", counter, q.id)
	if r, ok := m.accepted[dedupe]; ok && r.bucket >= m.oldest() {
		o.answers = r.position
		m.answer(q, o, schemas.DuplicatedBizID, r.id)
		return
	}
	m.counters[counter]++
	o.counter, o.dedupe, o.id, o.bucket, o.answers = counter, dedupe, m.counters[counter], m.bucket(m.time), offset
	m.accepted[dedupe] = remembered{o.id, o.bucket, offset}
	m.accept(q, sync, offset, o)
	if q.global {
		o.sides = append(o.sides, &side{kind: processor.Broadcast, key: q.key(), value: string(o.entry)})
	}
	m.answer(q, o, schemas.Success, o.id)
}

// fault is the code of the first thing wrong with a request.
func (m *model) fault(q *request) (schemas.SyncConfig, schemas.Code) {
	businesses, ok := m.settings[q.instance]
	if !ok {
		return schemas.SyncConfig{}, schemas.BizNotOnline
	}
	if q.refuse != "" {
		return schemas.SyncConfig{}, q.refuse
	}
	if q.link == "" && !q.global {
		return schemas.SyncConfig{}, schemas.ArgsIsNull
	}
	sync, ok := businesses[q.biz]
	if !ok || !sync.Online {
		return sync, schemas.BizNotOnline
	}
	if q.global != (sync.Scope == "global") {
		return sync, schemas.NotSupportGlobal
	}
	return sync, ""
}

// accept writes the entry.
func (m *model) accept(q *request, sync schemas.SyncConfig, offset int64, o *outcome) {
	valid := m.time + m.topo.Window.Milliseconds()
	if q.valid != 0 && q.valid < valid {
		valid = q.valid
	}
	f := fields{
		text: map[int]string{
			fieldInstance: q.instance, fieldBiz: q.biz, fieldLink: q.link, fieldThirdMsg: q.id,
			fieldPayload: q.payload, fieldBinary: q.binary, fieldOS: q.os, fieldMin: q.min, fieldMax: q.max,
		},
		ints: map[int]int64{
			fieldValid: valid, fieldID: o.id, fieldRequest: offset, fieldPrev: m.last,
			fieldRevision: m.revision, fieldTime: m.time,
		},
	}
	if q.global {
		f.text[fieldScope], f.text[fieldLink] = "global", ""
	} else if !sync.Persistent {
		f.ints[fieldFleeting] = 1
	}
	o.entry, m.chain = link(f.encode(), m.chain)
	m.last = offset
}

func (m *model) answer(q *request, o *outcome, code schemas.Code, id int64) {
	if !q.noReply {
		o.sides = append(o.sides, &side{kind: processor.Result, partition: q.reply, key: string(q.rec.RequestID), code: code, id: id})
	}
}

func (m *model) refuse(q *request, o *outcome, code schemas.Code) {
	m.answer(q, o, code, 0)
	value := string(q.rec.Value)
	if len(value) > schemas.MaxRejectValue {
		value = value[:schemas.MaxRejectValue]
	}
	o.sides = append(o.sides, &side{kind: processor.Reject, partition: m.partition, value: value, code: code})
}

// apply takes a control record.
func (m *model) apply(c *schemas.Control) {
	m.time = max(m.time, c.Time)
	if c.Revision <= m.revision {
		return
	}
	m.revision = c.Revision
	for _, ch := range c.Changes {
		businesses := m.settings[ch.InstanceID]
		switch {
		case ch.Kind == schemas.PutInstance && businesses == nil:
			m.settings[ch.InstanceID] = map[string]schemas.SyncConfig{}
		case ch.Kind == schemas.DeleteInstance:
			delete(m.settings, ch.InstanceID)
		case ch.Kind == schemas.PutSync && businesses != nil:
			businesses[ch.Sync.BizType] = ch.Sync
		case ch.Kind == schemas.DeleteSync:
			delete(businesses, ch.Sync.BizType)
		}
	}
}

func (m *model) bucket(at int64) int64 { return at / m.topo.Bucket.Milliseconds() }

// oldest is the oldest bucket whose keys are remembered.
func (m *model) oldest() int64 { return m.bucket(max(0, m.time-m.topo.Window.Milliseconds())) }
