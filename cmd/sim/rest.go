package sim

// turnsMax bounds the turns that coming to rest may take.
const turnsMax = 400

// rest lets everything finish without further faults, and checks what is
// there in the end.
func (w *world) rest() error {
	for _, p := range w.partitions {
		for ; p.backlog > 0; p.backlog-- {
			p.produce(p.load.next())
		}
		if err := p.appoint(); err != nil {
			return err
		}
	}
	if err := w.quiet(); err != nil {
		return err
	}
	for _, p := range w.partitions {
		if p.truncated {
			if err := p.again(); err != nil {
				return err
			}
		}
	}
	if err := w.quiet(); err != nil {
		return err
	}
	for _, p := range w.partitions {
		if err := p.settled(); err != nil {
			return err
		}
	}
	return nil
}

// quiet takes turns until nothing moves any more.
func (w *world) quiet() error {
	for turn := 0; ; turn++ {
		moved := false
		for _, p := range w.partitions {
			m, err := p.turn()
			if err != nil {
				return err
			}
			moved = moved || m
		}
		if !moved {
			return nil
		}
		if turn == turnsMax {
			return violated(Stuck, "still not at rest after %d turns", turn)
		}
	}
}

func (p *partition) owned() bool {
	for _, r := range p.replicas {
		if r.task != nil && r.task.Owner() {
			return true
		}
	}
	return false
}

// appoint clears the wires of the dead and makes one replica the owner; the
// other ones stay what they are, zombies too.
func (p *partition) appoint() error {
	w := p.w
	for len(p.strays) > 0 {
		if err := p.stray(); err != nil {
			return err
		}
	}
	for _, r := range p.replicas {
		r.paused = false
		if r.task != nil && w.tape.one(3) {
			r.crash()
		}
	}
	first := w.tape.n(len(p.replicas))
	for i := range p.replicas {
		r := p.replicas[(first+i)%len(p.replicas)]
		if r.task == nil && r.parked == nil {
			r.start()
		}
		if r.task != nil && !r.task.Owner() {
			if err := r.own(); err != nil {
				return err
			}
		}
		if r.task != nil {
			return nil
		}
	}
	return nil
}

// turn lets each replica do all that it can do now.
func (p *partition) turn() (moved bool, err error) {
	if !p.owned() {
		// The last owner has learnt that a truncation took what it wrote.
		strays := len(p.strays)
		if err := p.appoint(); err != nil {
			return false, err
		}
		moved = strays > 0 || p.owned()
	}
	for _, r := range p.replicas {
		if r.task == nil {
			continue
		}
		m, err := r.turn()
		if err != nil {
			return false, err
		}
		moved = moved || m
	}
	return moved, nil
}

func (r *replica) turn() (moved bool, err error) {
	readAt, records, sides, applied := r.readAt, len(r.p.log), r.p.w.counts.Sides, r.task.Applied()
	if !r.task.Owner() {
		for r.task != nil && r.canRead() {
			if err := r.read(); err != nil {
				return false, err
			}
		}
		if r.task == nil {
			return true, nil
		}
		r.task.Committed(r.p.committed)
	}
	for r.task != nil && r.hasInput() && !(r.task.Owner() && r.task.Full()) {
		moved = true
		if err := r.input(); err != nil {
			return false, err
		}
	}
	if err := r.flush(); err != nil || r.task == nil {
		return true, err
	}
	if err := r.apply(); err != nil || r.task == nil {
		return true, err
	}
	if r.task.Owner() && r.task.Applied().Request > r.p.committed {
		r.commit()
		moved = true
	}
	return moved || r.readAt != readAt || len(r.p.log) != records || r.p.w.counts.Sides != sides || r.task.Applied() != applied, nil
}

// flush empties an owner's wire.
func (r *replica) flush() error {
	for r.task != nil {
		r.take()
		x := r.wire
		switch {
		case x.landed < len(x.appends):
			if err := r.p.land(x); err != nil {
				return err
			}
		case x.acked < x.landed:
			if err := r.acknowledge(1 << 20); err != nil {
				return err
			}
		case len(x.sides) > 0:
			if err := r.finish(0); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// settled checks the end: the log, the side outputs, and each store, after one
// more restart as a follower.
func (p *partition) settled() error {
	if p.truncated {
		return p.settledTruncated()
	}
	if err := p.checkEnd(); err != nil {
		return err
	}
	for _, r := range p.replicas {
		if r.parked != nil {
			continue
		}
		if r.task != nil {
			r.stop()
		}
		if err := r.follow(); err != nil {
			return err
		}
	}
	return nil
}

func (p *partition) anyParked() bool {
	for _, r := range p.replicas {
		if r.parked != nil {
			return true
		}
	}
	return false
}

// follow restarts the replica as a standby and lets it catch up.
func (r *replica) follow() error {
	p := r.p
	r.start()
	for r.task != nil && r.canRead() {
		if err := r.read(); err != nil {
			return err
		}
	}
	for r.task != nil && r.hasInput() {
		if err := r.input(); err != nil {
			return err
		}
	}
	if r.task == nil {
		return nil
	}
	r.task.Committed(p.committed)
	if err := r.apply(); err != nil {
		return err
	}
	if at := r.store.Position().Request; at < p.lastRequest() {
		return violated(Stuck, "%s follows only up to position %d of %d", r.name, at, p.lastRequest())
	}
	return p.checkContent(r)
}

// again starts every task once more, as an owner: whoever knows of records that
// the log has lost is to find out.
func (p *partition) again() error {
	for _, r := range p.replicas {
		if r.parked != nil {
			continue
		}
		if r.task != nil {
			r.stop()
		}
		r.start()
		if r.task == nil {
			continue
		}
		if err := r.own(); err != nil {
			return err
		}
	}
	return nil
}

// settledTruncated: the log has lost records that were acknowledged. Either
// tasks that did not know of them have written them again, so that a reader
// who starts now finds all; or whoever knew of them has parked.
func (p *partition) settledTruncated() error {
	fresh := newReader(p.model, false)
	for offset, record := range p.log {
		if _, err := fresh.take(record, int64(offset)); err != nil {
			return err
		}
	}
	if len(fresh.records) < len(p.reader.records) && !p.anyParked() {
		return violated(Forked, "of %d entries that were accepted, a reader who starts now finds %d, and no task has parked", len(p.reader.records), len(fresh.records))
	}
	return nil
}
