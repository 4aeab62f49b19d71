package registry

import (
	"bytes"
	"slices"
)

// Limits of a restore.
const (
	// RestoreChunkBytes is how much of a backup goes in one command.
	RestoreChunkBytes = 512 << 10
	// MaxRestoreBytes bounds a backup that can be restored, packed.
	MaxRestoreBytes = 256 << 20
)

// RestoreChunk is a part of a backup on its way into the registry. The last
// one replaces the state by the backup's.
//
// A backup goes through the log like every change, and not around it as
// Raft's own restore does: there the leader takes the new state before a
// majority has it, and may die with it.
type RestoreChunk struct {
	ID   string `json:"id"` // of this restore; another one's parts are dropped
	Part int    `json:"part"`
	Data []byte `json:"data"`
	Last bool   `json:"last,omitempty"`
}

// Kind names the operation in the log.
func (RestoreChunk) Kind() string { return "restoreChunk" }

func (o RestoreChunk) check() error {
	if len(o.Data) > RestoreChunkBytes {
		return invalid("data", "%d bytes: at most %d", len(o.Data), RestoreChunkBytes)
	}
	return checkName("id", o.ID, maxCommandID)
}

func (o RestoreChunk) apply(e *edit) error {
	s := e.m.staged
	if o.Part == 0 {
		s = staged{id: o.ID}
	}
	switch {
	case s.id != o.ID || len(s.chunks) != o.Part:
		return refuse(Conflict, "part", "part %d does not follow: is another restore under way? Begin again", o.Part)
	case s.bytes+len(o.Data) > MaxRestoreBytes:
		return refuse(Refused, "", "a backup over %d bytes", MaxRestoreBytes)
	}
	e.m.staged, e.quietly = s.add(o.Data), true
	if !o.Last {
		return nil
	}
	backup, err := Restore(bytes.NewReader(slices.Concat(e.m.staged.chunks...)))
	if err != nil {
		return refuse(Invalid, "data", "%v", err)
	}
	return e.replace(backup)
}

// staged is the part of a backup that has come so far.
type staged struct {
	id     string
	chunks [][]byte
	bytes  int
}

func (s staged) add(b []byte) staged {
	s.chunks = append(slices.Clip(s.chunks), b)
	s.bytes += len(b)
	return s
}

// replace puts a backup in the place of the model. Revisions go on above all
// that either has given, since tasks ignore what they think they have; and
// settings go out whole as soon as the leader has looked at the topic again.
func (e *edit) replace(backup *Model) error {
	now := &e.m
	if !backup.Created() {
		return refuse(Invalid, "data", "the backup is of a registry that was never created")
	}
	if now.Created() {
		if err := backup.cluster.CheckTopology(now.cluster.Topology); err != nil {
			return refuse(Refused, "data", "the backup is of another topology: %v", err)
		}
	}
	next := *backup
	next.revision = max(now.revision, backup.revision)
	next.applied, next.skipped, next.answers = now.applied, now.skipped, now.answers
	next.members = now.members
	next.staged = staged{}
	if now.version() >= 2 {
		next.locks = now.locks
		next.users = afterRestore(backup.users, now.users)
	}
	next.history = history{whole: next.revision + 1}
	next.publication = publication{
		published: Published{Time: max(now.publication.published.Time, backup.publication.published.Time)},
		orphans:   join(backup.publication.orphans, backup.Orphans(now.Settings())),
	}
	if now.cluster.ID == backup.cluster.ID && now.audit.records.next >= backup.audit.records.next {
		next.audit = now.audit // who restores an old backup does not wipe out what was done since
	}
	was := map[string]int64{"revision": now.revision}
	*now, e.from = next, next.revision
	e.touch(Object{Kind: KindRegistry})
	e.record(RegistryRestored, Object{Kind: KindRegistry, Name: next.cluster.ID}, was, map[string]int64{"revision": backup.revision})
	return nil
}

// afterRestore are a backup's users, without a login session of anybody: what
// ended since the backup was made, by a logout or with another password, must
// not open again.
func afterRestore(backup, now table[User]) table[User] {
	for u := range backup.all() {
		is := *u
		if was := now.get(u.Name); was != nil {
			is.Epoch = max(is.Epoch, was.Epoch)
		}
		is.endSessions()
		backup = backup.put(is.Name, &is)
	}
	return backup
}
