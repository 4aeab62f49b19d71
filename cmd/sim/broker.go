package sim

import (
	"bytes"

	"github.com/tidemarkio/tidemark/processor"
)

// partition is one requests partition, its oplog, and everybody who has to do
// with them. It is also the broker: what happens to a record on its way is
// decided here.
type partition struct {
	w        *world
	id       int32
	requests []*request // by offset; nil: no record there
	log      [][]byte   // the oplog
	load     load
	backlog  int // requests that producers have still to write

	model     *model
	reader    *reader
	sidesDone int   // offsets below it have had all their side outputs
	committed int64 // the group's offset: side outputs up to here are out
	truncated bool  // acknowledged records were lost
	epoch     int   // of the oplog's leader; each truncation is a new one

	replicas []*replica
	strays   []*wire // of incarnations that have ended
}

// produce writes a request, or leaves a hole.
func (p *partition) produce(q *request) {
	offset := int64(len(p.requests))
	if q != nil {
		q := *q
		q.rec.Offset = offset
		p.requests = append(p.requests, &q)
		p.w.tracef("p%d request %d: %v", p.id, offset, &q)
	} else {
		p.requests = append(p.requests, nil)
	}
	p.model.add(q)
	p.w.counts.Requests++
}

// wire is the producer of one incarnation: what it has written and the broker
// has not, or has not acknowledged. It outlives its incarnation.
type wire struct {
	name    string
	appends []sent
	landed  int // appends[:landed] have met their fate
	acked   int // appends[:acked] were acknowledged, or their failure reported
	epoch   int // of the log's leader when the incarnation began
	broken  bool
	sides   []processor.Output
	flown   []bool // sides[i] has arrived at least once
}

// sent is one record for the oplog.
type sent struct {
	position int64
	marker   bool
	value    []byte
	failed   bool
	offset   int64
}

func (x *wire) idle() bool { return x.landed == len(x.appends) && len(x.sides) == 0 }

// land decides what becomes of the oldest record that has not arrived. The
// order of one producer is kept; a record may be lost all the same, and later
// ones arrive.
func (p *partition) land(x *wire) error {
	w := p.w
	s := &x.appends[x.landed]
	x.landed++
	if x.broken {
		// The broker has lost what this producer wrote before, and says so.
		s.failed = true
		w.tracef("%s: append %d refused: the log has lost its predecessor", x.name, s.position)
		return nil
	}
	if w.faults && w.tape.one(40) {
		s.failed = true
		w.counts.LostAppends++
		w.tracef("%s: append %d lost", x.name, s.position)
		return nil
	}
	if err := p.write(x, s); err != nil {
		return err
	}
	if w.faults && w.tape.one(40) {
		w.tracef("%s: append %d arrives again", x.name, s.position)
		first := s.offset
		if err := p.write(x, s); err != nil {
			return err
		}
		if w.tape.one(2) {
			s.offset = first
		}
	}
	switch {
	case x.epoch != p.epoch:
		// The answer names another leader than the one that this life read from.
		s.failed = true
		w.tracef("%s: append %d is answered by a new leader", x.name, s.position)
	case w.faults && w.tape.one(40):
		s.failed = true
		w.tracef("%s: the answer to append %d is lost", x.name, s.position)
	}
	return nil
}

func (p *partition) write(x *wire, s *sent) error {
	s.offset = int64(len(p.log))
	value := bytes.Clone(s.value) // what happens to the task's memory from here on is no matter
	p.log = append(p.log, value)
	what := "append"
	if s.marker {
		what = "marker"
	}
	p.w.counts.Records++
	verdict, err := p.reader.take(value, s.offset)
	p.w.tracef("%s: %s %d stands at offset %d (%s)", x.name, what, s.position, s.offset, verdict)
	return err
}

// truncate loses the newest records of the oplog, acknowledged or not.
func (p *partition) truncate() {
	n := min(len(p.log), 1+p.w.tape.n(6))
	end := int64(len(p.log) - n)
	p.log = p.log[:end]
	p.truncated = true
	p.epoch++
	p.w.counts.Truncations++
	p.w.tracef("p%d oplog loses its last %d records, ends at %d", p.id, n, end)
	for _, r := range p.replicas {
		// A reader is told by the broker (a leader epoch that ended below where
		// it reads), and a producer by the sequence numbers of what was lost.
		if r.wire != nil {
			r.wire.lose(end)
			r.lostTail = r.lostTail || !r.task.Owner() && r.readAt > end
		}
	}
	for _, x := range p.strays {
		x.lose(end)
	}
}

func (x *wire) lose(end int64) {
	for _, s := range x.appends[:x.landed] {
		if !s.failed && s.offset >= end {
			x.broken = true
		}
	}
}

// fly delivers side output i.
func (p *partition) fly(x *wire, i int) error {
	x.flown[i] = true
	o := &x.sides[i]
	p.w.counts.Sides++
	p.w.tracef("%s: %s of %d arrives", x.name, o.Kind, o.Position)
	if err := p.checkSide(o); err != nil {
		return err
	}
	if o.Kind == processor.Forward {
		q := *p.requests[o.Position]
		q.rec = processor.Record{Value: o.Value, ContentType: o.ContentType, Reply: o.Reply, RequestID: o.RequestID}
		p.w.partitions[o.Partition].produce(&q)
	}
	return nil
}

// drop removes side output i from the wire.
func (x *wire) drop(i int) {
	last := len(x.sides) - 1
	x.sides[i], x.flown[i] = x.sides[last], x.flown[last]
	x.sides, x.flown = x.sides[:last], x.flown[:last]
}
