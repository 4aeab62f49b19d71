package registry

import (
	"encoding/json"
	"errors"

	"github.com/tidemarkio/tidemark/schemas"
)

// Apply gives the model after a command, and what became of it. It is a
// function of the two alone. A refused command changes nothing but what
// [Model.Applied] counts; a repeated one (by ID) is answered as the first was.
func (m *Model) Apply(c Command) (*Model, Result) {
	if r := m.answers.of(c.ID); r != nil {
		next := *m
		next.applied++
		return &next, *r
	}
	e := &edit{m: *m, cmd: &c, from: m.revision}
	if err := e.run(); err != nil {
		next := *m
		next.applied++
		r := Result{Revision: m.revision, Refused: refusal(err)}
		if r.Refused.Problem == Unknown {
			next.skipped++
		}
		next.answers = m.answers.add(c.ID, r)
		return &next, r
	}
	r := e.finish()
	e.m.answers = e.m.answers.add(c.ID, r)
	return &e.m, r
}

// Skip gives the model after a log entry that is no readable command. It is
// counted, not fatal: an old release must be able to live in the same cluster
// as a new one for as long as an upgrade takes.
func (m *Model) Skip() *Model {
	next := *m
	next.applied++
	next.skipped++
	return &next
}

// Judge says which of a row of operations would be refused, and why: one error
// for each, nil for those that would be done. A refused one counts as left out.
func (m *Model) Judge(ops []Op) []error {
	e := &edit{m: *m, cmd: &Command{}, from: m.revision}
	errs := make([]error, len(ops))
	for i, op := range ops {
		before := *e
		err := op.check()
		if err == nil {
			err = e.admit(op)
		}
		if err == nil {
			err = op.apply(e)
		}
		if err != nil {
			*e, errs[i] = before, refusal(err)
		}
	}
	return errs
}

func refusal(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Problem: Invalid, Reason: err.Error()}
}

// edit is a model in the making. Operations read and write m; what is the same
// for all of them (revisions, audit, control records) is collected and done
// once, by finish.
type edit struct {
	m    Model
	cmd  *Command
	from int64 // revision before

	changes []schemas.Change // what tasks must learn, in order
	rules   int64            // the rules that tasks must switch to
	touched []*Touch
	records []*Record
	stamped []*int64 // revisions to fill in
	quietly bool     // something changed that no watcher needs to see and no audit to keep
}

func (e *edit) run() error {
	c := e.cmd
	if err := c.Check(); err != nil {
		return err
	}
	if c.Expect != 0 && c.Expect != e.from {
		return refuse(Conflict, "", "the registry is at revision %d, not %d: somebody changed it meanwhile; look again and repeat", e.from, c.Expect)
	}
	for i, op := range c.Ops {
		if err := e.admit(op); err != nil {
			return c.in(i, err)
		}
		if err := op.apply(e); err != nil {
			return c.in(i, err)
		}
	}
	return e.room()
}

// admit refuses what the registry as a whole is not ready for.
func (e *edit) admit(op Op) error {
	switch op.(type) {
	case Create, RestoreChunk:
		return nil
	}
	if !e.m.Created() {
		return refuse(Refused, "", "the registry is not created yet: wait until it has a leader")
	}
	if need, have := sinceVersion(op), e.m.version(); need > have {
		return refuse(Unknown, "", "operation %s needs every member at model version %d, and one is at %d: upgrade it first", op.Kind(), need, have)
	}
	return nil
}

// sinceVersion is the model version that brought an operation.
func sinceVersion(op Op) int {
	switch op.(type) {
	case EndSession, LockLogin, UnlockLogin:
		return 2
	}
	return 1
}

// room refuses a change of settings while too many wait to be published.
func (e *edit) room() error {
	if waiting := e.m.publication.pending.len(); waiting >= MaxPending && (len(e.changes) > 0 || e.rules != 0) {
		return refuse(Refused, "", "%d changes of settings wait to be published: is Kafka reachable? See the registry's status", waiting)
	}
	return nil
}

// finish gives the changes their revision and queues what tasks must learn.
func (e *edit) finish() Result {
	e.m.applied++
	controls := e.controls()
	// Every control record has a revision of its own, and all revisions are
	// of one row: an entry's settings revision is found in the audit. What
	// only makes an audit record disturbs no watcher and nobody's Expect.
	e.m.revision += int64(len(controls))
	if len(controls) == 0 && len(e.touched) > 0 {
		e.m.revision++
	}
	r := Result{Revision: e.m.revision, Changed: e.quietly || e.m.revision > e.from || len(e.records) > 0}
	if len(controls) > 0 {
		r.Publish = e.m.revision
		e.m.settings = e.m.settings.with(e.m.revision, e.changes)
		e.m.publication = e.m.publication.add(controls)
	}
	for _, s := range e.stamped {
		*s = e.m.revision
	}
	for _, t := range e.touched {
		t.Revision = e.m.revision
	}
	e.m.history = e.m.history.add(e.touched)
	for _, r := range e.records {
		r.Revision = e.m.revision
	}
	e.m.audit = e.m.audit.add(e.records)
	return r
}

// stamp marks an object as changed by this command; it must be new.
func (e *edit) stamp(s *Stamps) {
	if s.Created == 0 {
		s.Created = e.cmd.Time
	}
	s.Updated = e.cmd.Time
	e.stamped = append(e.stamped, &s.Revision)
}

// touch tells watchers that an object changed.
func (e *edit) touch(o Object) { e.touched = append(e.touched, &Touch{Object: o}) }

// record makes the audit record of an action. Every action makes exactly one.
func (e *edit) record(a Action, o Object, before, after any) {
	c := e.cmd
	e.records = append(e.records, &Record{
		Time: c.Time, Actor: c.Actor, Source: c.Source, Action: a, Object: o,
		Before: shown(before), After: shown(after),
	})
}

// shown is an object as the audit keeps it: without its revision, which the
// record has. Objects that hold secrets are given in their [InstanceView] or
// [UserView] form.
func shown(v any) json.RawMessage {
	switch o := v.(type) {
	case nil:
		return nil
	case json.RawMessage:
		return o
	case *Sync:
		c := *o
		c.Revision = 0
		v = &c
	case *InstanceView:
		o.Revision = 0
	case *UserView:
		o.Revision = 0
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own plain structs
	}
	return b
}

// newer refuses when an object was changed since the caller looked at it.
func newer(s *Stamps, expect int64) error {
	if expect != 0 && s.Revision != expect {
		return refuse(Conflict, "", "it is at revision %d and not at the %d that you saw: look again and repeat", s.Revision, expect)
	}
	return nil
}
