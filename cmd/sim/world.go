package sim

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/topology"
)

// world is one schedule: some partitions, some nodes, and steps taken in an
// order that the tape says.
type world struct {
	tape        *tape
	fault       processor.Fault
	topo        *topology.Topology
	partitions  []*partition
	inFlightMax int
	faults      bool // things may go wrong; off when coming to rest
	truncates   bool
	outside     bool // look only at what leaves the tasks, not at their stores
	steps       int
	counts      Counts
	trace       func(string)
}

// Counts say what happened in the schedules that were run.
type Counts struct {
	Steps       int
	Requests    int // records of the requests topic, holes included
	Records     int // records that reached an oplog
	Entries     int // accepted ones
	Repeats     int // dropped by the reader's rule: seen before
	Orphans     int // dropped by the reader's rule: predecessor missing
	Sides       int // side outputs that arrived
	LostAppends int
	Crashes     int
	Takeovers   int
	Truncations int
	Parks       int
}

func (c *Counts) add(o *Counts) {
	c.Steps += o.Steps
	c.Requests += o.Requests
	c.Records += o.Records
	c.Entries += o.Entries
	c.Repeats += o.Repeats
	c.Orphans += o.Orphans
	c.Sides += o.Sides
	c.LostAppends += o.LostAppends
	c.Crashes += o.Crashes
	c.Takeovers += o.Takeovers
	c.Truncations += o.Truncations
	c.Parks += o.Parks
}

// Size of a schedule.
const (
	stepsMax    = 260
	replicasMax = 3
	requestsMax = 48
)

// maps holds the topologies by partition count; they do not change.
var maps = func() (all [3]*topology.Topology) {
	for n := 1; n < len(all); n++ {
		t, err := topology.New(topology.Config{Partitions: int32(n), Window: windowMinutes * time.Minute})
		if err != nil {
			panic(err)
		}
		all[n] = t
	}
	return all
}()

func newWorld(t *tape, o *Options, trace func(string)) *world {
	w := &world{tape: t, fault: o.Fault, outside: o.outside, trace: trace, faults: true}
	n := 1
	if t.one(4) {
		n = 2
	}
	w.topo = maps[n]
	w.inFlightMax = []int{1 << 10, 2, 5, 12}[t.n(4)]
	w.truncates = t.one(6)
	replicas := 1 + t.n(replicasMax)
	for i := range n {
		p := &partition{w: w, id: int32(i), backlog: 4 + t.n(requestsMax/n), committed: -1}
		p.load = load{tape: t, partitions: int32(n), partition: p.id, now: clockStart}
		p.model = newModel(w.topo, p.id)
		p.reader = newReader(p.model, o.Fault == processor.NoPrevCheck)
		for j := range replicas {
			p.replicas = append(p.replicas, &replica{p: p, name: fmt.Sprintf("p%d n%d", i, j), store: processor.NewMemory()})
		}
		w.partitions = append(w.partitions, p)
	}
	return w
}

func (w *world) tracef(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf(format, args...))
	}
}

// clock is what the planted fault reads.
func (w *world) clock() int64 { return clockStart + int64(w.steps)*1000 }

// run takes random steps, then comes to rest and checks the end.
func (w *world) run() error {
	for range stepsMax {
		w.steps++
		p := w.partitions[w.tape.n(len(w.partitions))]
		if err := p.step(); err != nil {
			return err
		}
	}
	w.faults = false
	w.tracef("from here on nothing goes wrong")
	if err := w.rest(); err != nil {
		return err
	}
	for _, p := range w.partitions {
		w.counts.Entries += len(p.reader.records)
		w.counts.Repeats += p.reader.repeats
		w.counts.Orphans += p.reader.orphans
	}
	w.counts.Steps = w.steps
	return nil
}

// step does one thing.
func (p *partition) step() error {
	w := p.w
	if p.backlog > 0 && !w.tape.one(4) {
		for range 1 + w.tape.n(3) {
			if p.backlog > 0 {
				p.backlog--
				p.produce(p.load.next())
			}
		}
	}
	switch k := w.tape.n(16); {
	case k == 15 && len(p.strays) > 0:
		return p.stray()
	case k == 14 && w.truncates && len(p.log) > 0 && w.tape.one(8):
		p.truncate()
		return nil
	}
	r := p.replicas[w.tape.n(len(p.replicas))]
	switch {
	case r.parked != nil:
		return nil
	case r.task == nil:
		r.start()
		return nil
	case w.tape.one(60):
		r.crash()
		return nil
	case r.paused:
		r.paused = w.tape.n(24) != 0
		return p.carry(r.wire)
	case w.tape.one(50):
		r.paused = true
		r.tracef("stands still")
		return nil
	}
	return r.act()
}

// act is a step of a running replica.
func (r *replica) act() error {
	w := r.p.w
	k := w.tape.n(16)
	if !r.task.Owner() {
		switch {
		case k < 6 && r.canRead():
			return r.read()
		case k < 9 && r.hasInput():
			return r.input()
		case k < 11:
			r.task.Committed(r.p.committed)
			return r.apply()
		}
		return r.own()
	}
	switch {
	case k < 5 && r.hasInput() && !r.task.Full():
		return r.input()
	case k < 8:
		r.take()
		return nil
	case k < 12:
		return r.answers()
	case k < 14:
		return r.apply()
	case k == 14:
		r.commit()
		return nil
	}
	r.task.Marker()
	return nil
}

// answers moves what is on an owner's wire.
func (r *replica) answers() error {
	w := r.p.w
	for range 1 + w.tape.n(4) {
		if r.task == nil {
			return nil
		}
		var err error
		x := r.wire
		switch k := w.tape.n(3); {
		case k == 0 && x.landed < len(x.appends):
			err = r.p.land(x)
		case k <= 1 && x.acked < x.landed:
			err = r.acknowledge(1 + w.tape.n(4))
		case len(x.sides) > 0:
			err = r.finish(w.tape.n(len(x.sides)))
		case x.landed < len(x.appends):
			err = r.p.land(x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// carry lets a record of a wire arrive although nobody is there to learn of it.
func (p *partition) carry(x *wire) error {
	w := p.w
	switch {
	case x.landed < len(x.appends):
		return p.land(x)
	case len(x.sides) > 0:
		return p.fly(x, w.tape.n(len(x.sides)))
	}
	return nil
}

// stray moves, or loses, what an ended incarnation left on its wire.
func (p *partition) stray() error {
	w := p.w
	i := w.tape.n(len(p.strays))
	x := p.strays[i]
	var err error
	switch {
	case x.landed < len(x.appends):
		err = p.land(x)
	case len(x.sides) > 0:
		j := w.tape.n(len(x.sides))
		if w.tape.n(2) == 0 {
			err = p.fly(x, j)
		}
		x.drop(j)
	}
	if x.idle() || w.tape.one(6) {
		w.tracef("%s: the rest of its wire is lost", x.name)
		p.strays = append(p.strays[:i], p.strays[i+1:]...)
	}
	return err
}
