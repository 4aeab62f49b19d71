package sim

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
)

// replica is one node's part in a partition: a store, and most of the time a
// task over it. Any number of replicas may be owners at once.
type replica struct {
	p     *partition
	name  string
	store *processor.Memory
	older []*processor.Memory // what a power cut may bring back

	task     *processor.Task // nil: down
	wire     *wire
	readAt   int64 // offset of the oplog to read next
	paused   bool
	lostTail bool // what was read is not in the log any more
	parked   error
	lives    int
}

// snapshotsKept bounds the older stores of a replica.
const snapshotsKept = 2

func (r *replica) tracef(format string, args ...any) {
	if r.p.w.trace != nil {
		r.p.w.tracef("%s: %s", r.name, fmt.Sprintf(format, args...))
	}
}

// start makes a task over the store.
func (r *replica) start() {
	w := r.p.w
	r.lives++
	r.task = processor.New(processor.Config{
		Partition: r.p.id, Topology: w.topo, ClusterKey: clusterKey,
		InFlightMax: w.inFlightMax, Fault: w.fault, Clock: w.clock,
	}, r.store)
	r.wire = &wire{epoch: r.p.epoch, name: fmt.Sprintf("%s.%d", r.name, r.lives)}
	r.readAt = r.task.ReadFrom()
	r.paused, r.lostTail = false, false
	at := r.store.Position()
	r.tracef("starts life %d at position %d, oplog offset %d", r.lives, at.Request, at.OplogOffset)
	if at.OplogOffset >= int64(len(r.p.log)) {
		r.park(fmt.Errorf("the oplog ends at %d, the store has seen %d", len(r.p.log), at.OplogOffset))
		return
	}
	if !w.tape.one(4) {
		r.task.Committed(r.p.committed)
	}
}

// stop ends the incarnation; what is on its wire stays there.
func (r *replica) stop() {
	r.p.strays = append(r.p.strays, r.wire)
	r.task, r.wire = nil, nil
}

func (r *replica) park(err error) {
	r.parked = err
	r.tracef("PARKED: %v", err)
	r.p.w.counts.Parks++
	r.stop()
}

// failed handles an error of the task: it parks.
func (r *replica) failed(err error) error {
	if err == nil {
		return nil
	}
	r.park(err)
	if r.p.truncated {
		return nil
	}
	return violated(Parked, "%v", err)
}

// crash ends the process: its disk is left as it was, or as it was some time
// ago (the write-ahead log is not synced), or is lost.
func (r *replica) crash() {
	w := r.p.w
	w.counts.Crashes++
	switch w.tape.n(8) {
	case 6:
		if len(r.older) > 0 {
			r.store, r.older = r.older[0], nil
			r.tracef("crashes, and its store falls back to position %d", r.store.Position().Request)
			r.stop()
			return
		}
	case 7:
		r.store, r.older = processor.NewMemory(), nil
		r.tracef("crashes, and its disk is lost")
		r.stop()
		return
	}
	r.tracef("crashes")
	r.stop()
}

// input gives the task one request.
func (r *replica) input() error {
	for next := r.task.Decided() + 1; ; next++ {
		if q := r.p.requests[next]; q != nil {
			r.tracef("decides %d", next)
			return r.failed(r.task.Input(&q.rec))
		}
	}
}

// hasInput reports whether there is a request that the task has not decided.
func (r *replica) hasInput() bool { return r.task.Decided() < r.p.lastRequest() }

// lastRequest is the offset of the newest request.
func (p *partition) lastRequest() int64 {
	for i := len(p.requests) - 1; i >= 0; i-- {
		if p.requests[i] != nil {
			return int64(i)
		}
	}
	return -1
}

// read takes one record of the oplog.
func (r *replica) read() error {
	if r.lostTail {
		r.park(fmt.Errorf("the oplog lost records that were read"))
		return nil
	}
	record := r.p.log[r.readAt]
	var e schemas.Entry
	if err := e.Decode(record); err != nil {
		return violated(I4, "a task cannot read offset %d: %v", r.readAt, err)
	}
	for r.task != nil && r.task.Decided() < e.RequestOffset && r.hasInput() {
		if err := r.input(); err != nil {
			return err
		}
	}
	if r.task == nil {
		return nil
	}
	verdict, err := r.task.Tail(record, &e, r.readAt)
	if err == nil {
		r.tracef("reads offset %d: %s", r.readAt, verdict)
	}
	r.readAt++
	return r.failed(err)
}

func (r *replica) canRead() bool { return r.lostTail || r.readAt < int64(len(r.p.log)) }

// own makes the replica an owner, after it has read to the log's end.
func (r *replica) own() error {
	for r.task != nil && r.canRead() {
		if err := r.read(); err != nil {
			return err
		}
	}
	if r.task == nil {
		return nil
	}
	r.tracef("owns, having read to %d", r.readAt)
	r.p.w.counts.Takeovers++
	return r.failed(r.task.Own())
}

// take puts the task's outputs on the wire.
func (r *replica) take() {
	for _, o := range r.task.Take() {
		if o.Kind.Side() {
			r.wire.sides = append(r.wire.sides, o)
			r.wire.flown = append(r.wire.flown, false)
			r.tracef("sends %s of %d", o.Kind, o.Position)
			continue
		}
		r.wire.appends = append(r.wire.appends, sent{position: o.Position, marker: o.Kind == processor.Marker, value: o.Value})
		r.tracef("appends %s %d", o.Kind, o.Position)
	}
}

// acknowledge takes the acknowledgements of some records in a row. A failed
// append ends the incarnation.
func (r *replica) acknowledge(most int) error {
	x := r.wire
	position, offset := int64(-1), int64(0)
	for ; most > 0 && x.acked < x.landed && !x.appends[x.acked].failed; most-- {
		if s := x.appends[x.acked]; !s.marker {
			position, offset = s.position, s.offset
		}
		x.acked++
	}
	if position >= 0 {
		r.tracef("learns that appends up to %d stand, the last at offset %d", position, offset)
		return r.failed(r.task.Appended(position, offset))
	}
	if x.acked < x.landed && x.appends[x.acked].failed {
		r.tracef("learns that its append of %d failed: this life ends", x.appends[x.acked].position)
		r.stop()
	}
	return nil
}

// finish is the fate of side output i.
func (r *replica) finish(i int) error {
	w, x := r.p.w, r.wire
	fate := 0
	if w.faults {
		fate = w.tape.n(24)
	}
	switch fate {
	case 22: // arrives, and the answer is late
		return r.p.fly(x, i)
	case 23: // neither arrives nor can it be sent again
		r.tracef("learns that the %s of %d failed: this life ends", x.sides[i].Kind, x.sides[i].Position)
		r.stop()
		return nil
	}
	if err := r.p.fly(x, i); err != nil {
		return err
	}
	position := x.sides[i].Position
	x.drop(i)
	r.task.Sent(position)
	return nil
}

// apply writes the store.
func (r *replica) apply() error {
	w := r.p.w
	if w.tape.one(8) {
		r.older = append(r.older, r.store.Clone())
		r.older = slices.Delete(r.older, 0, max(0, len(r.older)-snapshotsKept))
	}
	did, err := r.task.Apply()
	if err != nil || !did {
		return r.failed(err)
	}
	at := r.store.Position()
	r.tracef("store stands at position %d, entry %d, oplog offset %d", at.Request, at.Entry, at.OplogOffset)
	return r.p.checkStore(r)
}

// commit moves the group's offset. A late zombie may move it back.
func (r *replica) commit() {
	at := r.task.Applied().Request
	if at == r.p.committed {
		return
	}
	r.p.committed = at
	r.tracef("commits %d", at)
}
