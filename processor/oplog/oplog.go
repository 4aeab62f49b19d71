// Package oplog holds the pure rules of sync: duplicate or new, which id, what
// the entry says, when a key is forgotten.
//
// # Contract
//
// Value in, value out: no IO, no clock, no randomness, no map iteration. What
// is decided here is replayed for years, by every owner a partition ever has;
// a change of these rules needs a new [Version], switched on by a control
// record, and the old rules stay beside it.
package oplog

import (
	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

// Version is the newest version of the rules that this release knows.
const Version = 1

// Facts are what a task's state says about one admitted request.
type Facts struct {
	Original int64 // the id that the same request got within the window; 0: none
	Last     int64 // the last id of its (instance, business, link token); 0: none
}

// Decision is what becomes of an admitted request.
type Decision struct {
	Duplicate bool
	ID        int64 // the new id, or the original's
}

// Decide gives a request its id, or finds that it has one.
func Decide(f Facts) Decision {
	if f.Original != 0 {
		return Decision{Duplicate: true, ID: f.Original}
	}
	return Decision{ID: f.Last + 1}
}

// Place is where an entry stands: everything in it that is not the request's.
type Place struct {
	ID         int64
	Request    int64 // position of the request
	Prev       int64 // position of the partition's previous entry
	Revision   int64 // settings
	StreamTime int64
}

// Entry makes the entry of an accepted request. Retention is in milliseconds
// of stream time; validity is the earlier of it and what the request asks
// (spec D21). Strings alias the request's.
func Entry(r *schemas.Request, sync *schemas.SyncConfig, at Place, retention int64) schemas.Entry {
	until := at.StreamTime + retention
	if r.ValidTimeEnd > 0 {
		until = min(until, r.ValidTimeEnd)
	}
	e := schemas.Entry{
		InstanceID: r.InstanceID, BizType: r.BizType, LinkToken: r.LinkToken, ThirdMsgID: r.ThirdMsgID,
		Payload: r.Payload, Binary: r.Binary,
		OSType: r.OSType, AppMinVersion: r.AppMinVersion, AppMaxVersion: r.AppMaxVersion,
		ValidTimeEnd: until,
		OplogID:      at.ID, RequestOffset: at.Request, PrevOffset: at.Prev,
		SettingsRevision: at.Revision, StreamTime: at.StreamTime,
		// A global entry is always kept: its audience is who comes later (D14).
		NonPersistent: !sync.Persistent && !r.Global(),
	}
	if r.Global() {
		e.Scope, e.LinkToken = schemas.ScopeGlobal, ""
	}
	return e
}

// Keys are the names under which a request is counted and remembered.
type Keys struct {
	Counter     [16]byte // of (instance, business, link token)
	Dedupe      [16]byte // of these and the thirdMsgId
	CounterText []byte   // what Counter is the hash of: schemas.CounterKey
}

// KeysOf names a request. CounterText is appended to buf, which may be reused
// once the keys are no longer needed.
func KeysOf(buf []byte, r *schemas.Request) Keys {
	link := r.LinkToken
	if r.Global() {
		link = "" // the dedupe key of a global request has none (spec D11)
	}
	start := len(buf)
	buf = schemas.CounterKey(buf, r.InstanceID, r.BizType, link)
	k := Keys{CounterText: buf[start:len(buf):len(buf)], Counter: xxh3.Hash128(buf[start:]).Bytes()}
	// Every part before it says its length, so the id needs none.
	h := append(buf, 0)
	h = append(h, r.ThirdMsgID...)
	k.Dedupe = xxh3.Hash128(h[start:]).Bytes()
	return k
}

// Window says which dedupe buckets are alive.
type Window struct {
	Millis int64 // how long a key is remembered, at least
	Bucket int64 // width of a bucket, in milliseconds
}

// At is the bucket that stream time falls in: where new keys go.
func (w Window) At(streamTime int64) int64 { return streamTime / w.Bucket }

// Oldest is the oldest bucket that may still hold a remembered key.
func (w Window) Oldest(streamTime int64) int64 {
	return max(0, streamTime-w.Millis) / w.Bucket
}

// Append encodes an entry behind the chain value before it: buf gets 16 bytes
// of scratch, then the record, which is returned as well, and the new chain.
func Append(buf []byte, e *schemas.Entry, prev chain.Value) (grown, record []byte, next chain.Value) {
	start := len(buf)
	buf = append(buf, prev[:]...)
	buf = e.AppendCanonical(buf)
	next = chain.Next(prev, buf[start:])
	buf = schemas.AppendChain(buf, next)
	return buf, buf[start+len(prev) : len(buf) : len(buf)], next
}
