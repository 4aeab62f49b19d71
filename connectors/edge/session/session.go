package session

import (
	"math"

	"github.com/tidemarkio/tidemark/schemas"
)

// Session is the state of one connection. Make it with [New].
type Session struct {
	id         Identity
	reader     Reader
	settings   Settings
	window     Window
	biz        []business // the index is the slot; an empty name is a free slot
	peers      []*Peer    // newer sessions of the same user
	unacked    Window     // delivered and not acknowledged
	turn       int        // slot that the next Deliver begins with
	verified   bool       // the tenant called the user's session valid
	background bool
	blocked    bool // the window was full at the last Deliver
}

// Window is an amount of entries and their bytes.
type Window struct {
	Entries int
	Bytes   int
}

// business is a business in a session. Its numbers mean something only while
// cfg is set; see the package comment.
type business struct {
	name    string
	cfg     *schemas.SyncConfig // nil: does not exist, or nobody whose data it could be
	was     *schemas.SyncConfig // what cfg was before the business was deleted
	claim   int64               // the client's own point
	claimed bool
	shown   int64 // number of the last rewind that the client had seen with its claim
	resumed bool  // belongs into the resume cursor
	pending bool  // there may be entries after scan

	acked   int64
	sent    int64
	scan    int64
	floor   int64
	stop    int64 // global: what is beyond this id waits for the next foreground,
	since   int64 // unless it was written before the last one (epoch ms)
	head    int64
	rewind  int64 // number of the last rewind of the sync point
	arrival uint64
	window  []segment
}

// New makes a session that has not connected. A zero window means the limits
// of this package, and larger ones are cut to them.
func New(id Identity, r Reader, s Settings, w Window) *Session {
	return &Session{id: id, reader: r, settings: s, window: w.clamp()}
}

func (w Window) clamp() Window {
	if w.Entries <= 0 || w.Entries > WindowEntries {
		w.Entries = WindowEntries
	}
	if w.Bytes <= 0 || w.Bytes > WindowBytes {
		w.Bytes = WindowBytes
	}
	return w
}

// Identity says who is at the other end, now.
func (s *Session) Identity() *Identity { return &s.id }

// Window is how much the client may leave unacknowledged.
func (s *Session) Window() Window { return s.window }

// Unacked is how much it has left unacknowledged.
func (s *Session) Unacked() Window { return s.unacked }

// Blocked reports that entries wait for the client to acknowledge some.
func (s *Session) Blocked() bool { return s.blocked }

// Foreground reports whether entries are delivered at all.
func (s *Session) Foreground() bool { return !s.background }

// Verified reports whether the tenant called the user's session valid.
func (s *Session) Verified() bool { return s.verified }

// Businesses lists the registered businesses, existing or not.
func (s *Session) Businesses() []string {
	var all []string
	for i := range s.biz {
		if s.biz[i].name != "" {
			all = append(all, s.biz[i].name)
		}
	}
	return all
}

// AsksVerdict reports whether something hangs on what the tenant says about
// the user's session: a business that wants it is followed.
func (s *Session) AsksVerdict() bool {
	for i := range s.biz {
		if cfg := s.biz[i].cfg; cfg != nil && wantsVerdict(cfg) {
			return true
		}
	}
	return false
}

// Step takes an input at a time (epoch ms).
func (s *Session) Step(now int64, in Input) Output {
	var out Output
	if s.id.UserID != "" && s.id.Until != 0 && now >= s.id.Until {
		s.outlived(now, in, &out)
	}
	switch in := in.(type) {
	case Connect:
		s.background = in.Background
		out.Announce = true
		s.register(now, in.Biz, &out)
	case Deliver:
		s.deliver(now, in, &out)
		return out
	case Ack:
		s.ack(in, &out)
	case Rewound:
		s.rewound(now, in, &out)
	case SettingsChanged:
		s.settings = in.Settings
		s.reconfigure(now, &out)
	case Register:
		out.Announce = true
		s.register(now, in.Biz, &out)
	case Unregister:
		out.Announce = true
		s.unregister(in.BizTypes)
	case Bind:
		out.Announce = true
		s.bind(now, in, &out)
	case Unbind:
		out.Announce = true
		s.bind(now, Bind{}, &out)
	case Foreground:
		out.Announce = out.Announce || s.background
		s.foreground(now, &out)
	case Background:
		out.Announce = out.Announce || !s.background
		s.background = true
	case Verdict:
		out.Announce = out.Announce || s.verified != in.Valid
		s.verified = in.Valid // what was held has not been looked at yet
	case PeersChanged:
		s.peers = in.Newer
		s.skipReceived(&out)
		s.lookAgain()
	case Close:
		for i := range s.biz {
			s.end(i)
		}
	}
	out.More = s.ready()
	return out
}

// find gives a business's slot, or -1.
func (s *Session) find(bizType string) int {
	for i := range s.biz {
		if s.biz[i].name == bizType {
			return i
		}
	}
	return -1
}

func (s *Session) register(now int64, all []Interest, out *Output) {
	for _, want := range all {
		slot := s.slot(want.BizType)
		if slot < 0 {
			out.Notices = append(out.Notices, schemas.Notice{
				Code: schemas.NoticeRegisterRefused, BizType: want.BizType, Text: "a session has at most 64 businesses",
			})
			continue
		}
		s.end(slot)
		s.biz[slot] = business{name: want.BizType, claim: want.Point, claimed: want.Known, shown: want.Rewind, resumed: want.Resumed}
		s.begin(now, slot, out)
	}
}

// slot finds a business's slot, or a free one; -1: there is none.
func (s *Session) slot(bizType string) int {
	if i := s.find(bizType); i >= 0 {
		return i
	}
	if i := s.find(""); i >= 0 {
		return i
	}
	if len(s.biz) == schemas.MaxInterests {
		return -1
	}
	s.biz = append(s.biz, business{})
	return len(s.biz) - 1
}

func (s *Session) unregister(bizTypes []string) {
	for _, name := range bizTypes {
		if i := s.find(name); i >= 0 && name != "" {
			s.end(i)
			s.biz[i] = business{}
		}
	}
}

// source is what a business with that config reads; ok is false if there is
// nobody whose data it could be: no user is bound (S003-59).
func (s *Session) source(cfg *schemas.SyncConfig) (src Source, ok bool) {
	src = Source{
		InstanceID: s.id.InstanceID, BizType: cfg.BizType, Target: s.id.UserID, DeviceID: s.id.DeviceID,
		Global: cfg.Scope == schemas.ScopeGlobal,
	}
	if cfg.Target == schemas.TargetDevice {
		src.Target = s.id.DeviceID
	}
	return src, src.Target != ""
}

// begin starts a business if it exists and has a target; else it stays silent
// until that changes.
func (s *Session) begin(now int64, slot int, out *Output) {
	b := &s.biz[slot]
	cfg := s.settings.Sync(s.id.InstanceID, b.name)
	if cfg == nil {
		return
	}
	src, ok := s.source(cfg)
	if !ok {
		return
	}
	start, err := s.reader.Open(slot, &src, newest(cfg), b.claim)
	if err != nil {
		out.Err = err
		return
	}
	b.cfg = cfg
	b.head = max(start.Head, start.Acked)
	b.floor, b.arrival = start.Floor, start.Arrival
	b.stop = math.MaxInt64
	if src.Global {
		b.stop, b.since = b.head, now
	}
	b.settle(&start, &src, out)
	b.lookAgain()
}

// record is where the server has a business, and behind which rewind.
func (b *business) record(start *Start) (point, rewind int64) {
	if singleDevice(b.cfg) { // the point is the user's, not the device's
		return start.Acked, start.AckedRewind
	}
	return start.Point, start.Rewind
}

// settle decides where a business starts.
func (b *business) settle(start *Start, src *Source, out *Output) {
	record, rewind := b.record(start)
	b.acked, b.sent, b.rewind = record, record, rewind
	switch {
	case !b.claimed:
	case b.claim > b.head: // S003-45: what the client saw, the cluster does not know
		out.Notices = append(out.Notices, schemas.Notice{
			Code: schemas.NoticeAboveHead, BizType: b.name, ID: b.claim, Text: "the log does not reach that far: starting from the server's record",
		})
	case b.claim > record && b.shown < rewind: // what the client saw is to come again
	case b.claim >= record:
		b.sent = b.claim
	case !singleDevice(b.cfg):
		// S003-64: the app was installed again. The record follows, or a cut
		// before the first acknowledgement would skip what came between.
		b.acked, b.sent = b.claim, b.claim
		out.Points = append(out.Points, Point{Source: *src, To: b.claim, Rewind: rewind})
	}
}

// end stops following a business; its name and claim stay.
func (s *Session) end(slot int) {
	b := &s.biz[slot]
	if b.cfg == nil {
		return
	}
	if src, ok := s.source(b.cfg); ok {
		s.reader.Close(slot, &src)
	}
	s.free(b)
	b.cfg, b.pending = nil, false
}

// free forgets what a business's client has not acknowledged.
func (s *Session) free(b *business) {
	for _, g := range b.window {
		s.unacked.take(g)
	}
	b.window = nil
}

// rewound goes back where a point was moved back.
func (s *Session) rewound(now int64, in Rewound, out *Output) {
	for i := range s.biz {
		if in.Slots>>i&1 != 0 && s.biz[i].cfg != nil {
			s.reopen(now, i, true, out)
		}
	}
}

// reopen asks again how things stand with a business, and goes back if its
// point was moved back. If that is all it is asked for, else nothing changes.
func (s *Session) reopen(now int64, slot int, onlyRewound bool, out *Output) {
	b := &s.biz[slot]
	src, _ := s.source(b.cfg)
	s.reader.Close(slot, &src)
	start, err := s.reader.Open(slot, &src, newest(b.cfg), 0)
	if err != nil {
		out.Err = err
		return
	}
	b.head = max(b.head, start.Head)
	record, rewind := b.record(&start)
	back := rewind > b.rewind
	if back {
		s.free(b)
		s.blocked = false
		// The next cursor must hold the rewind, or it would count as older.
		b.acked, b.sent, b.rewind, b.floor, b.resumed = record, record, rewind, start.Floor, true
	}
	if onlyRewound {
		if back {
			b.lookAgain()
		}
		return
	}
	b.floor, b.arrival = max(b.floor, start.Floor), start.Arrival
	if src.Global {
		b.stop, b.since = b.head, now
	}
	b.lookAgain()
}

// reconfigure takes over what changed in the settings.
func (s *Session) reconfigure(now int64, out *Output) {
	for i := range s.biz {
		b := &s.biz[i]
		if b.name == "" {
			continue
		}
		cfg := s.settings.Sync(s.id.InstanceID, b.name)
		switch {
		case cfg == b.cfg:
		case cfg == nil || b.cfg == nil || another(cfg, b.cfg):
			if b.cfg != nil { // ids will go on above the old ones
				b.was, b.claim, b.claimed, b.shown = b.cfg, b.sent, true, b.rewind
			}
			if cfg != nil && b.was != nil && another(cfg, b.was) {
				b.claimed = false
			}
			s.end(i)
			s.begin(now, i, out)
		default:
			b.cfg = cfg
			b.lookAgain()
		}
	}
}

// another reports that two configs of one name are two businesses: what cannot
// change differs, so it was deleted and made again.
func another(a, b *schemas.SyncConfig) bool {
	return a.Scope != b.Scope || a.Target != b.Target || a.MultiDevice != b.MultiDevice
}

// bind makes a user the session's. The businesses of the former end first
// (spec D33), and points that the client held for that one do not count.
func (s *Session) bind(now int64, in Bind, out *Output) {
	s.verified = false
	s.id.Until = in.Until
	if in.UserID == s.id.UserID {
		s.id.SessionID = in.SessionID
		return
	}
	for i := range s.biz {
		if b := &s.biz[i]; b.cfg != nil && b.cfg.Target != schemas.TargetDevice {
			s.end(i)
			b.claimed, b.resumed = false, false
		}
	}
	s.id.UserID, s.id.SessionID, s.peers = in.UserID, in.SessionID, nil
	for i := range s.biz {
		b := &s.biz[i]
		if b.name == "" || b.cfg != nil {
			continue
		}
		for _, want := range in.Biz {
			if want.BizType == b.name {
				b.claim, b.claimed, b.shown = want.Point, want.Known, want.Rewind
			}
		}
		s.begin(now, i, out)
	}
}

// outlived unbinds a user whose proof has ended, before anything else is done:
// from then on nothing of the user's gets out. Who binds or leaves anyway has
// nothing to be told.
func (s *Session) outlived(now int64, in Input, out *Output) {
	switch in.(type) {
	case Bind, Unbind, Close:
		return
	}
	s.bind(now, Bind{}, out)
	out.Unbound, out.Announce = true, true
	out.Notices = append(out.Notices, schemas.Notice{
		Code: schemas.NoticeUserEnded, Text: "the proof of the user has ended: bind with a new one",
	})
}

// foreground lets global entries come that were accepted meanwhile (S003-68).
// After a time in the background everything starts again: what was pushed for
// nobody is gone.
func (s *Session) foreground(now int64, out *Output) {
	was := s.background
	s.background = false
	for i := range s.biz {
		b := &s.biz[i]
		if b.cfg == nil || !was && b.cfg.Scope != schemas.ScopeGlobal {
			continue
		}
		if s.reopen(now, i, false, out); out.Err != nil {
			return
		}
	}
	s.skipReceived(out)
}

// skipReceived passes over what other devices of the user have received
// meanwhile, in single-device businesses (S003-61).
func (s *Session) skipReceived(out *Output) {
	for i := range s.biz {
		b := &s.biz[i]
		if b.cfg == nil || !singleDevice(b.cfg) {
			continue
		}
		src, _ := s.source(b.cfg)
		acked, err := s.reader.Acked(&src)
		if err != nil {
			out.Err = err
			return
		}
		b.floor = max(b.floor, acked)
		b.lookAgain()
	}
}

// lookAgain goes back over what was passed over: a rule's input has changed.
func (s *Session) lookAgain() {
	for i := range s.biz {
		if s.biz[i].cfg != nil {
			s.biz[i].lookAgain()
		}
	}
}

func (b *business) lookAgain() {
	b.scan = max(b.sent, b.floor)
	b.pending = true
}

// Cursor visits what a resume cursor has to hold: the businesses whose place
// the server does not know by itself, with the rewinds that were shown.
func (s *Session) Cursor(visit func(bizType string, point, rewind int64)) {
	for i := range s.biz {
		if b := &s.biz[i]; b.resumed && b.cfg != nil {
			visit(b.name, b.sent, b.rewind)
		}
	}
}

// Standings says where every business stands.
func (s *Session) Standings() []schemas.Standing {
	all := make([]schemas.Standing, 0, len(s.biz))
	for i := range s.biz {
		b := &s.biz[i]
		switch {
		case b.name == "":
		case b.cfg == nil:
			all = append(all, schemas.Standing{BizType: b.name, Unknown: true})
		default:
			all = append(all, schemas.Standing{BizType: b.name, From: b.sent, Head: max(b.head, b.sent)})
		}
	}
	return all
}

// Registered reports whether the business is registered, and whether it is one
// that the session follows now.
func (s *Session) Registered(bizType string) (registered, followed bool) {
	i := s.find(bizType)
	if i < 0 || bizType == "" {
		return false, false
	}
	return true, s.biz[i].cfg != nil
}

// newest is how many entries of a backlog a business pushes; 0: all.
func newest(cfg *schemas.SyncConfig) int64 {
	if cfg.RepushMode == schemas.RepushThreshold {
		return cfg.Threshold
	}
	return 0
}

// singleDevice reports that a business pushes to one device of a user, once.
func singleDevice(cfg *schemas.SyncConfig) bool {
	return cfg.Target != schemas.TargetDevice && !cfg.MultiDevice && cfg.Scope != schemas.ScopeGlobal
}
