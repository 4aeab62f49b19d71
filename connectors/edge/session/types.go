package session

import (
	"sync/atomic"

	"github.com/tidemarkio/tidemark/schemas"
)

// Limits of a session.
const (
	// WindowEntries and WindowBytes bound what a client has not acknowledged.
	// Past either it gets nothing more until it acknowledges something.
	WindowEntries = 10_000
	WindowBytes   = 8 << 20

	// DeliverEntries and DeliverBytes bound one [Deliver] whose own limits are
	// zero; the rest comes with the next.
	DeliverEntries = 512
	DeliverBytes   = 32 << 10

	// skipMax bounds how many entries that are not for the client one Deliver
	// passes over, so that one client cannot keep a worker busy.
	skipMax = 4096

	// entryOverhead is what an entry counts in bytes beside its payload and
	// id: about what the wire forms add.
	entryOverhead = 64
)

// Identity is who is at the other end.
type Identity struct {
	InstanceID string
	DeviceID   string
	UserID     string // empty: nobody is logged in
	SessionID  string // the login's token
	Until      int64  // when the proof of the user ends, epoch ms; 0: never
	OS         string // empty: not told
	AppVersion string // empty: not told
}

// Source is the log that a business is read from, and whose sync point counts.
type Source struct {
	InstanceID string
	BizType    string
	Target     string // user or device; of a global business the one whose sync point it is
	DeviceID   string
	Global     bool
}

// LinkToken is the link token of the source's log: empty for a global one.
func (s *Source) LinkToken() string {
	if s.Global {
		return ""
	}
	return s.Target
}

// Start is how things stand when a session opens a source.
type Start struct {
	Head        int64  // newest id of the log, as far as known; 0: none
	Point       int64  // what this device confirmed last
	Known       bool   // Point is on record
	Rewind      int64  // number of the last rewind of Point; 0: none
	Acked       int64  // the highest id that any device of the target confirmed, since the last rewind
	AckedRewind int64  // number of the last rewind of Acked; 0: none
	Floor       int64  // ids up to here are beyond the threshold that was asked for
	Arrival     uint64 // non-persistent entries up to this count came before the session
}

// Entry is an entry as sessions share it.
type Entry struct {
	schemas.Entry
	// Arrival counts the non-persistent entries of a partition.
	Arrival uint64
	// Written is the record's time on its topic, epoch ms; 0: not known.
	Written int64
	// Wire is the transports' place for the entry's encoded forms, made when
	// first needed and shared by all receivers. The rules do not look at it.
	Wire [2]atomic.Pointer[[]byte]
}

// Reader is what a session knows of the logs.
type Reader interface {
	// Open begins to follow a source in one of the session's slots: from now
	// on whoever drives the session hears when the log grows. newest is the
	// business's threshold, 0 for none. claim is the point that the client
	// says it holds: a reader that may be behind should make sure before it
	// answers with a lower head.
	Open(slot int, s *Source, newest, claim int64) (Start, error)
	// Close ends that.
	Close(slot int, s *Source)
	// Acked is the highest id that any device of the target confirmed, since the
	// last rewind if there was one.
	Acked(s *Source) (int64, error)
	// Read visits the entries after an id, ascending, until visit refuses one.
	// Entries must not be changed; they stay valid.
	Read(s *Source, after int64, visit func(*Entry) bool) error
}

// Settings finds businesses; registry.Settings is one.
type Settings interface {
	Sync(instanceID, bizType string) *schemas.SyncConfig
}

// Interest is a business that the client registers, and the point that it
// claims to hold.
type Interest struct {
	BizType string
	Point   int64
	Known   bool  // Point is meant
	Rewind  int64 // number of the last rewind that the client was shown; 0: it does not tell
	Resumed bool  // Point comes from a resume cursor, so the next one must have it too
}

// Peer is another session of the same user that came online later. It takes
// what single-device businesses push, if it is eligible.
type Peer struct {
	OS         string
	AppVersion string
	Verified   bool
	Biz        []string
}

// Input is what happens to a session.
type Input interface{ input() }

// The inputs.
type (
	// Connect is the first input.
	Connect struct {
		Biz        []Interest
		Background bool
	}
	// SettingsChanged brings new settings.
	SettingsChanged struct{ Settings Settings }
	// Register adds businesses, or starts them again.
	Register struct{ Biz []Interest }
	// Unregister takes businesses away.
	Unregister struct{ BizTypes []string }
	// Bind logs a user in. Biz holds points for the user's businesses.
	Bind struct {
		UserID    string
		SessionID string
		Until     int64 // as in Identity
		Biz       []Interest
	}
	// Unbind logs the user out.
	Unbind struct{}
	// Foreground says that the app came to the front: global entries too.
	Foreground struct{}
	// Background says that it went behind: nothing is delivered.
	Background struct{}
	// Verdict is what the tenant said about the user's session.
	Verdict struct{ Valid bool }
	// Tick says only what time it is.
	Tick struct{}
	// PeersChanged lists the user's sessions that came online later.
	PeersChanged struct{ Newer []*Peer }
	// Ack says that the client holds everything up to To.
	Ack struct {
		BizType string
		To      int64
		Rewind  int64 // number of the last rewind that the client was shown; 1: none yet, 0: it does not tell
	}
	// Rewound says that the sync points of some slots may have been moved back.
	Rewound struct{ Slots uint64 } // as bits
	// Deliver asks for what is to be written now.
	Deliver struct {
		Changed uint64   // slots whose logs have grown, as bits
		Entries int      // at most; 0: DeliverEntries
		Bytes   int      // at most, if more than one entry; 0: DeliverBytes
		Scratch *Scratch // memory for the spans; nil: new
	}
	// Close ends the session.
	Close struct{}
)

func (Connect) input()         {}
func (SettingsChanged) input() {}
func (Register) input()        {}
func (Unregister) input()      {}
func (Bind) input()            {}
func (Unbind) input()          {}
func (Foreground) input()      {}
func (Background) input()      {}
func (Verdict) input()         {}
func (Tick) input()            {}
func (PeersChanged) input()    {}
func (Ack) input()             {}
func (Rewound) input()         {}
func (Deliver) input()         {}
func (Close) input()           {}

// Scratch is memory that a driver lends to Deliver. What is in an Output made
// with it is valid until its next use.
type Scratch struct {
	spans   []Span
	entries []*Entry
}

// Span is what to write of one business: entries, and the range (From, To]
// that they cover.
type Span struct {
	BizType string
	From    int64
	To      int64
	Rewind  int64 // number of the last rewind of the sync point; 0: none
	Entries []*Entry
}

// Point is a sync point to be made durable.
type Point struct {
	Source Source
	To     int64
	Rewind int64 // number of the last rewind that the session knows of
	// Entries is how many delivered entries it newly confirms.
	Entries int64
}

// Output is what has to be done.
type Output struct {
	Spans    []Span           // write these, in order
	Points   []Point          // make these durable
	Notices  []schemas.Notice // tell the client, if its transport can
	Refused  string           // why an Ack was refused; empty: it was not
	Unbound  bool             // the proof of the user has ended: nobody is bound now
	Announce bool             // what presence says of the session has changed
	More     bool             // a Deliver now would find more
	Err      error            // of the Reader: the session cannot go on
}
