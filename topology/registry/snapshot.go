package registry

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	segjson "github.com/segmentio/encoding/json"

	"github.com/tidemarkio/tidemark/schemas"
)

// Limits of a snapshot.
const (
	// MaxSnapshotBytes bounds what a snapshot may unpack to.
	MaxSnapshotBytes = 2 << 30
	maxSnapshotLine  = 4 << 20
	snapshotFormat   = "tidemark registry"
	snapshotVersion  = 1
)

// header is a snapshot's first line.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`

	Revision int64 `json:"revision"`
	Applied  int64 `json:"applied"`
	Skipped  int64 `json:"skipped"`

	Cluster    Cluster `json:"cluster"`
	ClusterKey Hash    `json:"clusterKey"`
	Pepper     Hash    `json:"pepper"`

	Rules         int64      `json:"rules"`
	Signature     bool       `json:"signature"`
	Settings      int64      `json:"settings"` // their revision
	Published     Published  `json:"published"`
	Orphans       []Orphan   `json:"orphans,omitempty"`
	Placement     *Placement `json:"placement,omitempty"`
	HistoryWhole  int64      `json:"historyWhole"`
	AuditFirst    int64      `json:"auditFirst"`
	StagedRestore string     `json:"stagedRestore,omitempty"`
}

// line is each of a snapshot's further lines: one thing.
type line struct {
	Instance *Instance    `json:"instance,omitempty"`
	Sync     *Sync        `json:"sync,omitempty"`
	User     *User        `json:"user,omitempty"`
	Lock     *Lock        `json:"lock,omitempty"`
	Member   *Member      `json:"member,omitempty"`
	Pending  *pendingLine `json:"pending,omitempty"`
	Touch    *Touch       `json:"touch,omitempty"`
	Answer   *answerLine  `json:"answer,omitempty"`
	Record   *Record      `json:"record,omitempty"`
	Staged   []byte       `json:"staged,omitempty"`
	// End counts the lines before it; a snapshot without it was cut short.
	End *int64 `json:"end,omitempty"`
}

// decode reads a line. The decoder recurses without a limit of its own.
func (l *line) decode(b []byte) error {
	if err := schemas.CheckJSON(b); err != nil {
		return err
	}
	_, err := segjson.Parse(b, l, segjson.DontMatchCaseInsensitiveStructFields)
	return err
}

type pendingLine struct {
	Revision int64    `json:"revision"`
	Rules    int64    `json:"rules,omitempty"`
	Since    int64    `json:"since"`
	Changes  [][]byte `json:"changes,omitempty"` // each in its protobuf form
}

type answerLine struct {
	ID     string `json:"id"`
	Result Result `json:"result"`
}

// Snapshot writes the model whole: gzip over lines of JSON. It holds secrets
// (the cluster key, hashes, token secrets); a file of it is for its owner only.
func (m *Model) Snapshot(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(z, 64<<10)
	if err := m.writeLines(buf); err != nil {
		return fmt.Errorf("write registry snapshot: %w", err)
	}
	if err := errors.Join(buf.Flush(), z.Close()); err != nil {
		return fmt.Errorf("write registry snapshot: %w", err)
	}
	return nil
}

// writeLines writes the snapshot's lines in a fixed order.
func (m *Model) writeLines(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	err := out.Encode(&header{
		Format: snapshotFormat, Version: snapshotVersion,
		Revision: m.revision, Applied: m.applied, Skipped: m.skipped,
		Cluster: m.cluster, ClusterKey: Hash(m.cluster.Key), Pepper: m.cluster.Pepper,
		Rules: m.rules, Signature: m.signature, Settings: m.Settings().Revision,
		Published: m.publication.published, Orphans: m.publication.orphans,
		Placement: m.placement, HistoryWhole: m.history.whole, AuditFirst: m.audit.records.first,
		StagedRestore: m.staged.id,
	})
	var count int64
	put := func(l line) {
		if err == nil {
			err = out.Encode(&l)
		}
		count++
	}
	m.eachLine(put)
	put(line{End: &count})
	return err
}

func (m *Model) eachLine(put func(line)) {
	for i := range m.instances.all() {
		put(line{Instance: i})
	}
	for s := range m.syncs.all() {
		put(line{Sync: s})
	}
	for u := range m.users.all() {
		put(line{User: u})
	}
	for l := range m.locks.all() {
		put(line{Lock: l})
	}
	for n := range m.members.all() {
		put(line{Member: n})
	}
	for _, p := range m.publication.pending.items() {
		l := pendingLine{Revision: p.Control.Revision, Rules: p.Control.Rules, Since: p.Since}
		for i := range p.Control.Changes {
			l.Changes = append(l.Changes, p.Control.Changes[i].Append(nil))
		}
		put(line{Pending: &l})
	}
	for _, t := range m.history.touches.items() {
		put(line{Touch: t})
	}
	for _, id := range m.answers.order.items() {
		put(line{Answer: &answerLine{*id, *m.answers.of(*id)}})
	}
	for _, r := range m.audit.records.items() {
		put(line{Record: r})
	}
	for _, b := range m.staged.chunks {
		put(line{Staged: b})
	}
}

// Restore reads what [Model.Snapshot] wrote. Nothing of an older model is left
// in the new one.
func Restore(r io.Reader) (*Model, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read registry snapshot: %w", err)
	}
	m, err := readLines(z)
	if err != nil {
		return nil, fmt.Errorf("read registry snapshot: %w", err)
	}
	return m, nil
}

func readLines(r io.Reader) (*Model, error) {
	in := bufio.NewScanner(&io.LimitedReader{R: r, N: MaxSnapshotBytes})
	in.Buffer(make([]byte, 64<<10), maxSnapshotLine)
	m, settings, err := readHeader(in)
	if err != nil {
		return nil, err
	}
	var lists lists
	for count := int64(0); in.Scan(); count++ {
		var l line
		if err := l.decode(in.Bytes()); err != nil {
			return nil, fmt.Errorf("line %d: %w", count+2, err)
		}
		if l.End != nil {
			if *l.End != count {
				return nil, fmt.Errorf("%d lines, but it was written with %d", count, *l.End)
			}
			// To the very end, where the checksum is.
			if in.Scan() {
				return nil, errors.New("something follows its end")
			}
			m.takeLists(&lists, settings)
			return m, in.Err()
		}
		if err := m.take(&l, &lists); err != nil {
			return nil, fmt.Errorf("line %d: %w", count+2, err)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("it ends early")
}

func readHeader(in *bufio.Scanner) (m *Model, settings int64, err error) {
	if !in.Scan() {
		return nil, 0, errors.Join(errors.New("it is empty"), in.Err())
	}
	var h header
	if err := json.Unmarshal(in.Bytes(), &h); err != nil {
		return nil, 0, fmt.Errorf("header: %w", err)
	}
	switch {
	case h.Format != snapshotFormat:
		return nil, 0, errors.New("this is not a registry snapshot")
	case h.Version != snapshotVersion:
		return nil, 0, fmt.Errorf("version %d is unknown to this release, which knows %d", h.Version, snapshotVersion)
	case h.Revision < 0 || h.AuditFirst < 0 || max(h.Revision, h.AuditFirst) > 1<<60:
		return nil, 0, errors.New("header: a number is out of range")
	}
	m = &Model{
		revision: h.Revision, applied: h.Applied, skipped: h.Skipped,
		cluster: h.Cluster, rules: h.Rules, signature: h.Signature, placement: h.Placement,
		publication: publication{published: h.Published, orphans: h.Orphans},
		history:     history{whole: h.HistoryWhole},
		staged:      staged{id: h.StagedRestore},
	}
	m.cluster.Key, m.cluster.Pepper = schemas.ClusterKey(h.ClusterKey), h.Pepper
	m.audit.records.first, m.audit.records.next = h.AuditFirst, h.AuditFirst
	return m, h.Settings, nil
}

// lists are a snapshot's long lists; they are put into the model at once.
type lists struct {
	pending []*Pending
	touches []*Touch
	records []*Record
}

func (m *Model) takeLists(l *lists, settings int64) {
	m.publication = m.publication.add(l.pending)
	m.history = m.history.add(l.touches)
	m.audit = m.audit.add(l.records)
	m.settings = madeSettings(m.allSettings(settings))
}

// take adds one line's thing to a model that nobody else has yet.
func (m *Model) take(l *line, into *lists) error {
	switch {
	case l.Instance != nil:
		m.instances = m.instances.put(l.Instance.ID, l.Instance)
	case l.Sync != nil:
		if m.Instance(l.Sync.InstanceID) == nil {
			return fmt.Errorf("config %q without its instance", l.Sync.BizType)
		}
		m.syncs = m.syncs.put(syncKey(l.Sync.InstanceID, l.Sync.BizType), l.Sync)
	case l.User != nil:
		m.users = m.users.put(l.User.Name, l.User)
	case l.Lock != nil:
		m.locks = m.locks.put(lockKey(l.Lock.Kind, l.Lock.Name), l.Lock)
	case l.Member != nil:
		m.members = m.members.put(l.Member.ID, l.Member)
	case l.Pending != nil:
		p, err := l.Pending.decode()
		if err != nil {
			return err
		}
		into.pending = append(into.pending, p)
	case l.Touch != nil:
		into.touches = append(into.touches, l.Touch)
	case l.Answer != nil:
		m.answers = m.answers.add(l.Answer.ID, l.Answer.Result)
	case l.Record != nil:
		into.records = append(into.records, l.Record)
	case l.Staged != nil:
		m.staged = m.staged.add(l.Staged)
	default:
		return errors.New("it holds nothing that this release knows")
	}
	return nil
}

func (l *pendingLine) decode() (*Pending, error) {
	p := &Pending{Since: l.Since, Control: schemas.Control{Revision: l.Revision, Rules: l.Rules}}
	for _, b := range l.Changes {
		var c schemas.Change
		if err := c.Decode(b); err != nil {
			return nil, fmt.Errorf("pending change: %w", err)
		}
		p.Control.Changes = append(p.Control.Changes, c)
	}
	return p, nil
}

// allSettings makes the settings anew from the tables.
func (m *Model) allSettings(revision int64) *Settings {
	changes := make([]schemas.Change, 0, m.instances.len()+m.syncs.len())
	for i := range m.instances.all() {
		changes = append(changes, schemas.Change{Kind: schemas.PutInstance, InstanceID: i.ID})
	}
	for s := range m.syncs.all() {
		changes = append(changes, schemas.Change{Kind: schemas.PutSync, InstanceID: s.InstanceID, Sync: s.Config()})
	}
	return (&Settings{}).With(revision, changes)
}
