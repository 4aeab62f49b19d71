package registry

import (
	"maps"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/schemas"
)

// Limits of publication.
const (
	// MaxPending bounds the control records that wait to be published. Past it
	// changes of settings are refused.
	MaxPending = 10_000
	// controlChangesMax is what the changes of one control record may take, so
	// that the record stays under schemas.MaxControlBytes.
	controlChangesMax = schemas.MaxControlBytes - 1024
	// MaxOrphans bounds the settings that are named for removal at once.
	MaxOrphans = 10_000
)

// Pending is a control record that the leader has yet to write to every
// requests partition. Partition and time are the writer's to fill in. It must
// not be changed.
type Pending struct {
	Control schemas.Control
	Since   int64 // epoch ms of the command
}

// Published says how far settings are in every partition's log.
type Published struct {
	Revision int64  `json:"revision"`
	Time     int64  `json:"time"`            // largest that was written with them, epoch ms
	Topic    string `json:"topic,omitempty"` // which requests topic that is true of; empty: none was met yet
}

// Orphan is a setting that tasks may hold and the registry does not: a config,
// or without BizType a whole instance.
type Orphan struct {
	InstanceID string `json:"instanceId"`
	BizType    string `json:"bizType,omitempty"`
}

type publication struct {
	pending   queue[Pending]
	published Published
	orphans   []Orphan // to be removed when settings are next published whole
}

// Published says how far settings are in every partition's log.
func (m *Model) Published() Published { return m.publication.published }

// PendingCount is how many control records wait.
func (m *Model) PendingCount() int { return m.publication.pending.len() }

// OldestPending is the control record that waits for longest, or nil.
func (m *Model) OldestPending() *Pending { return m.NextPending(0) }

// NextPending is the control record that comes after a revision, or nil.
func (m *Model) NextPending(after int64) *Pending {
	q := m.publication.pending
	n := q.first
	for n < q.next && q.at(n).Control.Revision <= after {
		n++
	}
	if n == q.next {
		return nil
	}
	return q.at(n)
}

// Waiting reports whether a settings revision is still to be published.
func (m *Model) Waiting(revision int64) bool {
	p := &m.publication
	return p.pending.len() > 0 && p.published.Revision < revision
}

func (p publication) add(waiting []*Pending) publication {
	p.pending = p.pending.push(waiting...)
	return p
}

// drop removes what is published up to a revision.
func (p publication) drop(revision int64) publication {
	n := p.pending.first
	for n < p.pending.next && p.pending.at(n).Control.Revision <= revision {
		n++
	}
	p.pending = p.pending.dropTo(n)
	return p
}

// controls cuts the edit's changes into control records, each with a revision
// of its own, the last with the command's.
func (e *edit) controls() []*Pending {
	var all []*Pending
	add := func(changes []schemas.Change) {
		all = append(all, &Pending{
			Control: schemas.Control{Revision: e.from + int64(len(all)) + 1, Changes: changes},
			Since:   e.cmd.Time,
		})
	}
	start, size := 0, 0
	for i := range e.changes {
		n := len(e.changes[i].Append(nil)) + 8
		if size+n > controlChangesMax {
			add(e.changes[start:i])
			start, size = i, 0
		}
		size += n
	}
	if start < len(e.changes) || e.rules != 0 {
		add(e.changes[start:])
		all[len(all)-1].Control.Rules = e.rules
	}
	return all
}

// publishAll queues the settings whole, behind the removal of orphans, in
// place of what is pending.
func (e *edit) publishAll() {
	p := &e.m.publication
	p.pending = p.pending.dropTo(p.pending.next)
	whole := e.m.Settings().With(e.from, e.changes)
	for _, o := range p.orphans {
		c := schemas.Change{Kind: schemas.DeleteInstance, InstanceID: o.InstanceID}
		if o.BizType != "" {
			c.Kind, c.Sync.BizType = schemas.DeleteSync, o.BizType
		}
		e.changes = append(e.changes, c)
	}
	p.orphans = nil
	e.changes = append(e.changes, whole.Changes()...)
	if e.m.rules > 1 {
		e.rules = e.m.rules
	}
}

// Orphans lists what tasks hold, by their own account, and the model does not.
func (m *Model) Orphans(held *Settings) []Orphan {
	var found []Orphan
	for _, id := range held.Instances() {
		if m.Instance(id) == nil {
			found = append(found, Orphan{InstanceID: id})
			continue
		}
		for _, sync := range held.Businesses(id) {
			if m.Sync(id, sync.BizType) == nil {
				found = append(found, Orphan{InstanceID: id, BizType: sync.BizType})
			}
		}
	}
	return found[:min(len(found), MaxOrphans)]
}

// join adds orphans to those that are known, each once, in order.
func join(a, b []Orphan) []Orphan {
	all := make(map[Orphan]bool, len(a)+len(b))
	for _, o := range slices.Concat(a, b) {
		all[o] = true
	}
	return slices.SortedFunc(maps.Keys(all), func(x, y Orphan) int {
		return strings.Compare(syncKey(x.InstanceID, x.BizType), syncKey(y.InstanceID, y.BizType))
	})
}

// MeetTopic is the leader's first word about a requests topic: settings that
// were published to another one (or to none) go out whole. The publisher has
// looked at what tasks hold already.
type MeetTopic struct {
	Topic    string   `json:"topic"`              // names it for ever: Kafka's topic id
	Revision int64    `json:"revision,omitempty"` // the largest that tasks hold: go on above it
	Orphans  []Orphan `json:"orphans,omitempty"`
}

// Kind names the operation in the log.
func (MeetTopic) Kind() string { return "meetTopic" }

func (o MeetTopic) check() error {
	if len(o.Orphans) > MaxOrphans {
		return invalid("orphans", "%d: at most %d", len(o.Orphans), MaxOrphans)
	}
	return checkName("topic", o.Topic, 200)
}

func (o MeetTopic) apply(e *edit) error {
	p := &e.m.publication
	if p.published.Topic == o.Topic {
		return nil
	}
	again := p.published.Topic != "" || len(o.Orphans) > 0 || o.Revision > 0
	p.published = Published{Topic: o.Topic, Time: p.published.Time}
	p.orphans = join(p.orphans, o.Orphans)
	if o.Revision > e.from {
		e.from, e.m.revision = o.Revision, o.Revision
		e.m.history = history{whole: o.Revision}
	}
	e.quietly = true
	e.publishAll()
	if again {
		e.record(SettingsPublish, Object{Kind: KindRegistry, Name: o.Topic}, nil, nil)
	}
	return nil
}

// PublishAll has the settings published whole once more, should an operator
// doubt what tasks hold.
type PublishAll struct{}

// Kind names the operation in the log.
func (PublishAll) Kind() string { return "publishAll" }

func (PublishAll) check() error { return nil }

func (PublishAll) apply(e *edit) error {
	e.publishAll()
	e.record(SettingsPublish, Object{Kind: KindRegistry}, nil, nil)
	return nil
}

// MarkPublished says that control records up to a revision are in every
// partition's log.
type MarkPublished struct {
	Revision int64  `json:"revision"`
	Time     int64  `json:"time"`  // largest that was written, epoch ms
	Topic    string `json:"topic"` // as in [MeetTopic]: what another leader wrote elsewhere counts for nothing
}

// Kind names the operation in the log.
func (MarkPublished) Kind() string { return "markPublished" }

func (MarkPublished) check() error { return nil }

func (o MarkPublished) apply(e *edit) error {
	p := &e.m.publication
	if o.Topic != p.published.Topic || o.Revision > e.m.revision {
		return nil
	}
	p.published.Revision = max(p.published.Revision, o.Revision)
	p.published.Time = max(p.published.Time, o.Time)
	*p = p.drop(o.Revision)
	e.quietly = true
	return nil
}

// SetRules switches tasks to another version of the decision rules.
type SetRules struct {
	Version int64 `json:"version"`
}

// Kind names the operation in the log.
func (SetRules) Kind() string { return "setRules" }

func (o SetRules) check() error {
	if o.Version < 1 || o.Version > 1000 {
		return invalid("version", "%d: a version of the decision rules", o.Version)
	}
	return nil
}

func (o SetRules) apply(e *edit) error {
	before := e.m.Rules()
	if o.Version < before {
		return refuse(Refused, "version", "rules %d are switched on: they are never switched back to %d, as entries were made by them", before, o.Version)
	}
	if o.Version == before {
		return nil
	}
	e.m.rules, e.rules = o.Version, o.Version
	object := Object{Kind: KindService, Name: "rules"}
	e.touch(object)
	e.record(RulesSwitch, object, before, o.Version)
	return nil
}
