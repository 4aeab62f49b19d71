package processor

import (
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/schemas"
)

// node plays a command that is for one node.
func (s *stage) node(args []string) error {
	n := s.nodes[args[1]]
	if n == nil {
		n = &node{store: NewMemory()}
		s.nodes[args[1]] = n
	}
	switch args[0] {
	case "start":
		s.start(n)
		return nil
	case "crash":
		n.task, n.appends, n.arrived, n.sides = nil, nil, nil, nil
		if len(args) > 2 && args[2] == "empty" {
			n.store = NewMemory()
		}
		return nil
	case "clone":
		s.nodes[args[2]] = &node{store: n.store.Clone()}
		return nil
	case "store":
		s.stands(n)
		return nil
	}
	if n.task == nil {
		return fmt.Errorf("%s has no task", args[1])
	}
	return s.act(n, args)
}

// act plays a command that is for a running task.
func (s *stage) act(n *node, args []string) error {
	switch args[0] {
	case "input":
		return s.input(n, s.count(args, 2))
	case "tail":
		return s.tail(n, s.count(args, 2))
	case "committed":
		n.task.Committed(s.number(args[2]))
	case "own":
		return n.task.Own()
	case "marker":
		n.task.Marker()
	case "take":
		s.take(n)
	case "append":
		s.append(n, s.count(args, 2))
	case "lose":
		for _, o := range n.appends[:s.count(args, 2)] {
			s.say("lost: %s %d", o.Kind, o.Position)
		}
		n.appends = n.appends[s.count(args, 2):]
	case "ack":
		return s.ack(n, s.count(args, 2))
	case "sent":
		s.sent(n, s.count(args, 2))
	case "apply":
		return s.apply(n)
	case "work":
		return s.work(n)
	default:
		return errors.New("unknown command")
	}
	return nil
}

func (s *stage) start(n *node) {
	n.task = New(s.cfg, n.store)
	n.readAt = max(n.task.ReadFrom(), s.logStart)
	s.say("reads requests from %d, the oplog from %d", n.task.Decided()+1, n.readAt)
	if at := n.store.Position().OplogOffset; at >= int64(len(s.log)) {
		s.say("whoever runs it parks it: the oplog ends at %d, and its store stands at %d", len(s.log), at)
	}
}

// input gives requests until the task is full or there are none.
func (s *stage) input(n *node, most int) error {
	for ; most > 0 && n.task.Decided() < s.lastRequest(); most-- {
		if n.task.Full() {
			s.say("full: %d in flight", n.task.InFlight())
			return nil
		}
		if err := s.decide(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) lastRequest() int64 {
	for i := len(s.requests) - 1; i >= 0; i-- {
		if s.requests[i] != nil {
			return int64(i)
		}
	}
	return -1
}

// decide gives the next request.
func (s *stage) decide(n *node) error {
	next := n.task.Decided() + 1
	for s.requests[next] == nil {
		next++
	}
	return n.task.Input(s.requests[next])
}

// tail reads the oplog.
func (s *stage) tail(n *node, most int) error {
	for ; most > 0 && n.readAt < int64(len(s.log)); most-- {
		record := s.log[n.readAt]
		var e schemas.Entry
		if err := e.Decode(record); err != nil {
			return err
		}
		for !e.Marker() && n.task.Decided() < e.RequestOffset {
			if err := s.decide(n); err != nil {
				return err
			}
		}
		v, err := n.task.Tail(record, &e, n.readAt)
		if err != nil {
			return err
		}
		s.say("%d: %s", n.readAt, v)
		n.readAt++
	}
	if n.task.Replaying() {
		s.say("has still to decide what an earlier owner covered")
	}
	return nil
}

// take puts outputs on the wire.
func (s *stage) take(n *node) {
	for _, o := range n.task.Take() {
		if o.Kind.Side() {
			n.sides = append(n.sides, o)
			s.say("%s", sideText(&o))
			continue
		}
		n.appends = append(n.appends, o)
		var e schemas.Entry
		if err := e.Decode(o.Value); err != nil {
			s.t.Fatal(err)
		}
		s.say("%s %s", o.Kind, entryText(&e))
	}
}

func sideText(o *Output) string {
	switch o.Kind {
	case Result:
		return fmt.Sprintf("result of %d to %d for %s: %s id %d%s", o.Position, o.Partition, o.RequestID, o.Answer.Code, o.Answer.OplogID, reason(o))
	case Reject:
		return fmt.Sprintf("reject of %d: %s%s; value %.40q", o.Position, o.Answer.Code, reason(o), o.Answer.Value)
	case Forward:
		return fmt.Sprintf("forward of %d to partition %d, key %s, reply %q, request id %q", o.Position, o.Partition, o.Key, o.Reply, o.RequestID)
	}
	return fmt.Sprintf("%s of %d, key %s", o.Kind, o.Position, o.Key)
}

func reason(o *Output) string {
	if o.Answer.Reason == "" {
		return ""
	}
	return " (" + o.Answer.Reason + ")"
}

// append lets records reach the log.
func (s *stage) append(n *node, most int) {
	for ; most > 0 && len(n.appends) > 0; most-- {
		o := n.appends[0]
		n.appends = n.appends[1:]
		n.arrived = append(n.arrived, arrival{o.Position, int64(len(s.log)), o.Kind == Marker})
		s.say("%s %d stands at %d", o.Kind, o.Position, len(s.log))
		s.log = append(s.log, o.Value)
	}
}

// ack tells the task of appends that have arrived, the newest for all.
func (s *stage) ack(n *node, most int) error {
	last := arrival{position: -1}
	for ; most > 0 && len(n.arrived) > 0; most-- {
		if !n.arrived[0].marker {
			last = n.arrived[0]
		}
		n.arrived = n.arrived[1:]
	}
	if last.position < 0 {
		return nil
	}
	return n.task.Appended(last.position, last.offset)
}

func (s *stage) sent(n *node, most int) {
	for ; most > 0 && len(n.sides) > 0; most-- {
		n.task.Sent(n.sides[0].Position)
		n.sides = n.sides[1:]
	}
}

func (s *stage) apply(n *node) error {
	did, err := n.task.Apply()
	if err != nil {
		return err
	}
	if !did {
		s.say("nothing to write")
		return nil
	}
	s.stands(n)
	return nil
}

func (s *stage) stands(n *node) {
	at := n.store.Position()
	s.say("position %d, last entry %d, oplog offset %d, settings %d", at.Request, at.Entry, at.OplogOffset, at.Revision)
}

// work does all there is to do.
func (s *stage) work(n *node) error {
	for {
		if err := s.input(n, 1<<30); err != nil {
			return err
		}
		s.take(n)
		if len(n.appends)+len(n.arrived)+len(n.sides) == 0 {
			return s.apply(n)
		}
		s.append(n, 1<<30)
		if err := s.ack(n, 1<<30); err != nil {
			return err
		}
		s.sent(n, 1<<30)
		if err := s.apply(n); err != nil {
			return err
		}
	}
}
