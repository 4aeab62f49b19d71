package processor

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tidemarkio/tidemark/processor/oplog"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Store is what a task remembers: state.Task in production, a map in the
// simulator. Look-ups answer as of the last batch applied.
type Store interface {
	Position() state.Position
	Settings() []schemas.Change
	// Original finds the id that a dedupe key got, in buckets oldest to newest; 0: none.
	Original(key state.Hash, oldest, newest int64) (int64, error)
	// Last is a counter's last id; 0: none. key is what hash is the hash of.
	Last(hash state.Hash, key []byte) (int64, error)
	Apply(*state.Batch) error
}

// Limits of a task.
const (
	// DefaultInFlightMax bounds the positions that are decided and not yet
	// complete, and so the overlay.
	DefaultInFlightMax = 4 << 10
	// DefaultInFlightBytesMax bounds the entries that are not yet logged.
	DefaultInFlightBytesMax = 2 << 20
	// markerEvery is how many positions without an entry go by before a marker.
	markerEvery = 4096
)

// Config of a [Task].
type Config struct {
	Partition  int32
	Topology   *topology.Topology
	ClusterKey schemas.ClusterKey

	// InFlightMax bounds decided positions that are not complete; default
	// [DefaultInFlightMax]. More hides longer broker latency, for memory.
	InFlightMax int
	// InFlightBytesMax bounds the bytes of entries not yet logged; default
	// [DefaultInFlightBytesMax].
	InFlightBytesMax int

	// Fault plants a fault, so that the simulator can show that it would find
	// it; Clock is what the fault [WallClock] reads. Never set outside tests.
	Fault Fault
	Clock func() int64
}

// Task is the sync task of one partition. See the package documentation for
// who calls what.
type Task struct {
	cfg      Config
	store    Store
	window   oplog.Window
	settings *registry.Settings

	decided    int64 // last request decided
	streamTime int64
	rules      int64
	entry      int64 // position of the last entry decided
	chain      chain.Value
	stated     int64 // largest position that the log will state as covered, by what was appended
	markers    int64 // markers handed out since the last append
	covered    int64 // positions up to here were covered before this task became the owner
	committed  int64 // positions up to here have had their side outputs sent, by whomever

	owner   bool
	reader  *chain.Reader // the log as far as it was read while following
	stand   stand
	next    int64 // offset of the oplog behind all that was read and acknowledged
	alone   bool  // since Own, everything in the log was this task's
	overlay overlay
	flight  flight
	applied state.Position

	duplicates int64 // decided to be repeats

	out   []Output
	slab  slab
	batch state.Batch
	req   schemas.Request // reused
}

// New starts a task from its store: following, at the store's position.
func New(cfg Config, store Store) *Task {
	if cfg.InFlightMax == 0 {
		cfg.InFlightMax = DefaultInFlightMax
	}
	if cfg.InFlightBytesMax == 0 {
		cfg.InFlightBytesMax = DefaultInFlightBytesMax
	}
	at := store.Position()
	t := &Task{
		cfg:        cfg,
		store:      store,
		window:     oplog.Window{Millis: cfg.Topology.Window.Milliseconds(), Bucket: cfg.Topology.Bucket.Milliseconds()},
		settings:   (&registry.Settings{}).With(at.Revision, store.Settings()),
		decided:    at.Request,
		streamTime: at.StreamTime,
		rules:      max(at.Rules, 1),
		entry:      at.Entry,
		chain:      at.Chain,
		stated:     at.Entry,
		committed:  at.Request,
		reader:     chain.Resume(at.Entry, at.Chain, at.Entry),
		stand:      stand{at: at},
		next:       at.OplogOffset + 1,
		applied:    at,
		overlay:    newOverlay(),
	}
	if at.Entry >= 0 && at.OplogOffset < 0 {
		t.stand.checking, t.reader = true, chain.Start()
	}
	if cfg.Fault == WrongPosition && at.Request >= 0 {
		t.decided++
	}
	return t
}

// Decided is the last request position decided.
func (t *Task) Decided() int64 { return t.decided }

// Applied is where the store stands.
func (t *Task) Applied() state.Position { return t.applied }

// Settings are those that the next request is decided by.
func (t *Task) Settings() *registry.Settings { return t.settings }

// StreamTime is the latest tick, in epoch milliseconds.
func (t *Task) StreamTime() int64 { return t.streamTime }

// Owner reports whether [Task.Own] was called.
func (t *Task) Owner() bool { return t.owner }

// Duplicates counts the requests that were decided to be repeats, since the
// task was made. Whoever asks for results hears of each; this is for figures.
func (t *Task) Duplicates() int64 { return t.duplicates }

// InFlight is how many decided positions are kept until they are complete.
func (t *Task) InFlight() int { return t.flight.len() }

// Full reports that no more input should be given until some is complete.
func (t *Task) Full() bool {
	return t.flight.len() >= t.cfg.InFlightMax || t.flight.bytes >= t.cfg.InFlightBytesMax
}

// Input decides one request record. Offsets rise; what was decided before is
// passed over, and holes are allowed (a transactional producer's markers and
// aborted records take offsets). Every error is a [ParkError].
func (t *Task) Input(r *Record) error {
	if r.Offset <= t.decided {
		return nil
	}
	t.decided = r.Offset
	if r.Control {
		return t.control(r)
	}
	if err := t.request(r); err != nil {
		return err
	}
	if t.owner && t.decided-t.stated >= markerEvery {
		t.Marker()
	}
	return nil
}

// Take hands over the outputs since the last call, in the order in which they
// must be written. The slice is valid until the next call of any method.
func (t *Task) Take() []Output {
	t.release()
	out := t.out
	t.out = t.out[:0]
	return out
}

// request decides a record of a producer.
func (t *Task) request(r *Record) error {
	req := &t.req
	*req = schemas.Request{}
	reply, fault := t.reply(r)
	if !fault.None() {
		t.reject(r, noReply, fault)
		return nil
	}
	if err := req.Decode(r.ContentType, r.Value); err != nil {
		t.reject(r, reply, schemas.Fault{Code: schemas.ArgsInvalid, Reason: err.Error()})
		return nil
	}
	if key := req.Key(); (key != "" || req.Global()) && t.misrouted(key) {
		t.forward(r, key)
		return nil
	}
	sync, fault := t.settings.Admit(req)
	if !fault.None() {
		t.reject(r, reply, fault)
		return nil
	}
	return t.decide(r, req, sync, reply)
}

func (t *Task) misrouted(key string) bool { return t.cfg.Topology.Of(key) != t.cfg.Partition }

// decide gathers the facts of an admitted request, has the rules decide, and
// stages what follows.
func (t *Task) decide(r *Record, req *schemas.Request, sync *schemas.SyncConfig, reply int32) error {
	keys := oplog.KeysOf(t.slab.tail(256), req)
	facts, err := t.facts(&keys)
	if err != nil {
		return t.park(r.Offset, "its store cannot be read", "free or replace the disk, then restart", err)
	}
	d := oplog.Decide(facts)
	if d.Duplicate {
		t.duplicates++
		t.answer(r, req, sync, reply, schemas.DuplicatedBizID, d.ID)
		return nil
	}
	now := t.streamTime
	if t.cfg.Fault == WallClock {
		now = t.cfg.Clock()
	}
	if r.Offset <= t.covered {
		return t.diverged(r.Offset, "the log says that this position makes no entry, and it makes one now", nil)
	}
	e := oplog.Entry(req, sync, oplog.Place{
		ID: d.ID, Request: r.Offset, Prev: t.entry, Revision: t.settings.Revision, StreamTime: now,
	}, t.window.Millis)
	t.slab.keep(len(keys.CounterText))
	record, next := t.encode(&e)
	p := t.flight.push(pending{
		position: r.Offset, entry: true, id: d.ID, bucket: t.window.At(now),
		oplogOffset: unknown,
		dedupe:      keys.Dedupe, counter: keys.Counter, counterText: keys.CounterText,
		chain: next, record: record, key: recordKey(req, keys.CounterText),
	})
	t.entry, t.chain = r.Offset, next
	t.overlay.put(p)
	if t.owner {
		t.append(p)
	}
	if req.Global() {
		t.hold(Output{Kind: Broadcast, Position: r.Offset, Key: p.key, Value: record})
	}
	t.answer(r, req, sync, reply, schemas.Success, d.ID)
	return nil
}

func (t *Task) facts(k *oplog.Keys) (oplog.Facts, error) {
	oldest, newest := t.window.Oldest(t.streamTime), t.window.At(t.streamTime)
	f := oplog.Facts{Original: t.overlay.original(k.Dedupe, oldest)}
	if f.Original == 0 {
		id, err := t.store.Original(k.Dedupe, oldest, newest)
		if err != nil {
			return f, err
		}
		f.Original = id
	}
	if f.Original != 0 {
		return f, nil
	}
	f.Last = t.overlay.last(k.Counter)
	if f.Last == 0 {
		id, err := t.store.Last(k.Counter, k.CounterText)
		if err != nil {
			return f, err
		}
		f.Last = id
	}
	return f, nil
}

// encode writes the entry into the slab and links it.
func (t *Task) encode(e *schemas.Entry) (record []byte, next chain.Value) {
	const fixed = 160 // tags, lengths, numbers and chain of the largest entry
	need := fixed + len(e.InstanceID) + len(e.BizType) + len(e.LinkToken) + len(e.ThirdMsgID) + len(e.Payload) +
		len(e.Binary) + len(e.OSType) + len(e.AppMinVersion) + len(e.AppMaxVersion)
	buf := t.slab.tail(need)
	grown, record, next := oplog.Append(buf, e, t.chain)
	t.slab.keep(len(grown))
	return record, next
}

// recordKey is the entry's record key. A link token is the end of its counter
// key, which lives as long.
func recordKey(req *schemas.Request, counterText []byte) []byte {
	if req.Global() {
		return []byte(req.Key())
	}
	return counterText[len(counterText)-len(req.LinkToken):]
}

func (t *Task) append(p *pending) {
	t.stated = p.position
	p.markers, t.markers = t.markers, 0
	t.flight.bytes += len(p.record)
	t.out = append(t.out, Output{Kind: Append, Position: p.position, Key: p.key, Value: p.record})
}

// Marker puts a progress marker into the log if the log does not say yet how
// far requests are covered. The owner calls it when the input has gone quiet;
// under load the task does so itself now and then.
func (t *Task) Marker() {
	if !t.owner || t.stated >= t.decided {
		return
	}
	t.stated = t.decided
	t.markers++
	e := schemas.Entry{RequestOffset: t.decided, PrevOffset: t.entry}
	value := schemas.AppendChain(e.AppendCanonical(nil), t.chain)
	t.out = append(t.out, Output{Kind: Marker, Position: t.decided, Value: value})
}

// control applies a control record. One that is not ours is refused like any
// bad request: it must not stop the partition.
func (t *Task) control(r *Record) error {
	var c schemas.Control
	err := c.Decode(r.Value, t.cfg.ClusterKey)
	switch {
	case errors.Is(err, schemas.ErrVersion):
		return t.park(r.Offset, "a control record of a newer release", "upgrade this node", err)
	case err == nil && c.Partition != t.cfg.Partition:
		err = fmt.Errorf("control record of partition %d in partition %d", c.Partition, t.cfg.Partition)
	case err == nil && c.Rules > oplog.Version:
		return t.park(r.Offset, fmt.Sprintf("decision rules %d are switched on, this release knows %d", c.Rules, oplog.Version), "upgrade this node", nil)
	}
	if err != nil {
		t.req = schemas.Request{}
		t.reject(r, noReply, schemas.Fault{Code: schemas.ArgsInvalid, Reason: err.Error()})
		return nil
	}
	t.streamTime = max(t.streamTime, c.Time)
	t.rules = max(t.rules, c.Rules)
	if c.Revision > t.settings.Revision {
		t.settings = t.settings.With(c.Revision, c.Changes)
	} else {
		c.Changes = nil // we have them
	}
	t.flight.push(pending{position: r.Offset, control: &control{
		changes: c.Changes, streamTime: t.streamTime, revision: t.settings.Revision, rules: t.rules,
	}})
	return nil
}

// noReply says that nobody waits for an answer.
const noReply = int32(-1)

// reply reads where the answer goes.
func (t *Task) reply(r *Record) (int32, schemas.Fault) {
	if len(r.RequestID) > schemas.MaxRequestID {
		return noReply, schemas.Fault{Code: schemas.ArgsInvalid, Reason: fmt.Sprintf("header %s is over %d bytes", schemas.HeaderRequestID, schemas.MaxRequestID)}
	}
	if r.Reply == "" {
		return noReply, schemas.Fault{}
	}
	p, err := strconv.ParseInt(r.Reply, 10, 32)
	if err != nil || p < 0 || int32(p) >= t.cfg.Topology.Results.Partitions {
		return noReply, schemas.Fault{Code: schemas.ArgsInvalid, Reason: fmt.Sprintf(
			"header %s is %.20q: want a partition of %s, 0 to %d", schemas.HeaderReply, r.Reply, t.cfg.Topology.Results.Name, t.cfg.Topology.Results.Partitions-1)}
	}
	return int32(p), schemas.Fault{}
}

// answer stages the result of a request that was not refused, if asked for.
func (t *Task) answer(r *Record, req *schemas.Request, sync *schemas.SyncConfig, reply int32, code schemas.Code, id int64) {
	if reply == noReply {
		return
	}
	a := t.result(r, req)
	a.Code, a.OplogID = code, id
	out := Output{Kind: Result, Position: r.Offset, Partition: reply, RequestID: r.RequestID, Answer: a}
	if code == schemas.Success && !req.Global() {
		out.Reach = &Reach{
			InstanceID: req.InstanceID, BizType: req.BizType, LinkToken: req.LinkToken, Target: sync.Target,
			Filter:      schemas.Filter{OSType: req.OSType, AppMinVersion: req.AppMinVersion, AppMaxVersion: req.AppMaxVersion},
			Consistency: sync.Consistency,
		}
	}
	t.hold(out)
}

// reject stages the refusal of a request: on rejects for everybody, and as a
// result for whoever asked.
func (t *Task) reject(r *Record, reply int32, f schemas.Fault) {
	a := t.result(r, &t.req)
	a.Code, a.Reason = f.Code, f.Reason
	if reply != noReply {
		t.hold(Output{Kind: Result, Position: r.Offset, Partition: reply, RequestID: r.RequestID, Answer: a})
	}
	rejected := *a
	rejected.Value = r.Value[:min(len(r.Value), schemas.MaxRejectValue)]
	t.hold(Output{Kind: Reject, Position: r.Offset, Partition: t.cfg.Partition, Key: []byte(a.LinkToken), Answer: &rejected})
}

// result copies what a result says about its request; t.req is reused. A
// request that could not be read has left nothing there.
func (t *Task) result(r *Record, req *schemas.Request) *schemas.Result {
	return &schemas.Result{
		InstanceID: bounded(req.InstanceID), BizType: bounded(req.BizType), LinkToken: bounded(req.LinkToken), ThirdMsgID: bounded(req.ThirdMsgID),
		RequestPartition: t.cfg.Partition, RequestOffset: r.Offset, RequestID: r.RequestID,
	}
}

// bounded cuts a field that may be over its limit, on a character's border.
func bounded(s string) string {
	const most = 400 // four bytes for each of 100 characters
	for i := range s {
		if i > most {
			return s[:i]
		}
	}
	return s
}

// forward stages a copy of a misrouted request for its right partition.
func (t *Task) forward(r *Record, key string) {
	t.hold(Output{
		Kind: Forward, Position: r.Offset, Partition: t.cfg.Topology.Of(key), Key: []byte(key), Value: r.Value,
		ContentType: r.ContentType, Reply: r.Reply, RequestID: r.RequestID,
	})
}

// hold keeps a side output with its position until that is logged.
func (t *Task) hold(o Output) {
	p := t.flight.last()
	if p == nil || p.position != o.Position {
		p = t.flight.push(pending{position: o.Position})
	}
	p.held = append(p.held, o)
	if t.cfg.Fault == EarlyResult && t.owner {
		t.releaseOne(p)
	}
}

func (t *Task) park(position int64, reason, remedy string, cause error) error {
	return &ParkError{Partition: t.cfg.Partition, Position: position, Reason: reason, Remedy: remedy, Cause: cause}
}
