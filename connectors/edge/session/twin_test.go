package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

// twin is a session without any of its economy: it looks at whole logs every
// time, keeps what is unacknowledged entry by entry, and compares the world
// with what it was instead of being told what changed.
type twin struct {
	w        *world
	id       Identity
	window   Window
	biz      []*twinBiz
	verified bool
	asleep   bool
	newer    []*Peer
}

type twinBiz struct {
	name    string
	kind    string // of the running start; empty: not running
	last    string // kind before it stopped
	claim   int64  // -1: none
	sent    int64
	acked   int64
	floor   int64
	arrival uint64
	stop    int64
	unacked []*Entry
}

func (t *twin) source(b *twinBiz) (src Source, cfg *schemas.SyncConfig, kind string) {
	cfg = t.w.configs[b.name]
	if cfg == nil {
		return src, nil, ""
	}
	target := t.id.UserID
	if cfg.Target == schemas.TargetDevice {
		target = t.id.DeviceID
	}
	if target == "" {
		return src, nil, ""
	}
	src = Source{t.w.instance, b.name, target, t.id.DeviceID, cfg.Scope == schemas.ScopeGlobal}
	return src, cfg, fmt.Sprint(target, cfg.Target, cfg.Scope, cfg.MultiDevice)
}

// look starts what can start and stops what cannot go on.
func (t *twin) look() (points []string) {
	for _, b := range t.biz {
		src, cfg, kind := t.source(b)
		if kind == b.kind {
			continue
		}
		if b.kind != "" {
			b.claim, b.last, b.unacked = b.sent, b.kind, nil
		}
		b.kind = kind
		if kind == "" {
			continue
		}
		if b.last != "" && b.last != kind {
			b.claim = -1
		}
		log := t.w.logs[logKey(&src)]
		acked := t.w.acked[src.BizType+"/"+src.Target]
		record := t.w.points[src.BizType+"/"+src.Target+"/"+src.DeviceID]
		single := cfg.Target == schemas.TargetUser && cfg.Scope == schemas.ScopeSpecified && !cfg.MultiDevice
		if single {
			record = acked
		}
		head := max(int64(len(log)), acked)
		b.sent, b.acked, b.arrival, b.stop = record, record, t.w.arrival, 1<<62
		if src.Global {
			b.stop = head
		}
		if b.claim >= 0 && b.claim <= head && (b.claim > record || !single) {
			b.sent = b.claim
			if b.claim < record {
				b.acked = b.claim
				points = append(points, fmt.Sprintf("%v=%d", src, b.claim))
			}
		}
		b.floor = t.beyond(log, src, cfg)
	}
	return points
}

func (t *twin) beyond(log []*Entry, src Source, cfg *schemas.SyncConfig) int64 {
	if cfg.RepushMode != schemas.RepushThreshold {
		return 0
	}
	left := cfg.Threshold
	for _, e := range slices.Backward(log) {
		if e.NonPersistent || e.OplogID <= t.w.trimmed[logKey(&src)] {
			continue
		}
		if left == 0 {
			return e.OplogID
		}
		left--
	}
	return 0
}

// outlive unbinds a user whose proof has ended.
func (t *twin) outlive(in Input) (points []string) {
	_, binds := in.(Bind)
	if t.id.UserID == "" || t.id.Until == 0 || t.w.now < t.id.Until || binds {
		return nil
	}
	t.bind(Bind{})
	return t.look()
}

func (t *twin) step(in Input) (points []string) {
	points = t.outlive(in)
	switch in := in.(type) {
	case Connect:
		t.asleep = in.Background
		t.register(in.Biz)
	case Register:
		t.register(in.Biz)
	case Unregister:
		t.biz = slices.DeleteFunc(t.biz, func(b *twinBiz) bool { return slices.Contains(in.BizTypes, b.name) })
	case Bind:
		t.bind(in)
	case Unbind:
		t.bind(Bind{})
	case Foreground:
		for _, b := range t.biz {
			src, cfg, kind := t.source(b)
			if kind == "" || !t.asleep && !src.Global {
				continue
			}
			b.arrival = t.w.arrival
			b.floor = max(b.floor, t.beyond(t.w.logs[logKey(&src)], src, cfg))
			if src.Global {
				b.stop = max(b.stop, int64(len(t.w.logs[logKey(&src)])))
			}
		}
		t.asleep = false
		t.skip()
	case Background:
		t.asleep = true
	case Verdict:
		t.verified = in.Valid
	case PeersChanged:
		t.newer = in.Newer
		t.skip()
	case Ack:
		for _, b := range t.biz {
			if src, _, kind := t.source(b); kind != "" && b.name == in.BizType && in.To > b.acked && in.To <= b.sent {
				b.acked = in.To
				b.unacked = slices.DeleteFunc(b.unacked, func(e *Entry) bool { return e.OplogID <= in.To })
				points = append(points, fmt.Sprintf("%v=%d", src, in.To))
			}
		}
	}
	return append(points, t.look()...)
}

func (t *twin) skip() {
	for _, b := range t.biz {
		if src, cfg, kind := t.source(b); kind != "" && cfg.Target == schemas.TargetUser && !cfg.MultiDevice && !src.Global {
			b.floor = max(b.floor, t.w.acked[src.BizType+"/"+src.Target])
		}
	}
}

func (t *twin) register(all []Interest) {
	for _, in := range all {
		t.biz = slices.DeleteFunc(t.biz, func(b *twinBiz) bool { return b.name == in.BizType })
		b := &twinBiz{name: in.BizType, claim: -1}
		if in.Known {
			b.claim = in.Point
		}
		t.biz = append(t.biz, b)
	}
}

func (t *twin) bind(in Bind) {
	t.verified, t.id.Until = false, in.Until
	if in.UserID == t.id.UserID {
		return
	}
	for _, b := range t.biz {
		_, cfg, kind := t.source(b)
		if kind != "" && cfg.Target == schemas.TargetDevice {
			continue
		}
		if kind != "" {
			b.kind, b.last, b.claim, b.unacked = "", "", -1, nil
		}
		for _, p := range in.Biz {
			if p.BizType == b.name {
				b.claim = -1
				if p.Known {
					b.claim = p.Point
				}
			}
		}
	}
	t.id.UserID, t.newer = in.UserID, nil
}

// deliver gives all that may be written now, by business: "id id ... to".
func (t *twin) deliver() map[string]string {
	out := map[string]string{}
	t.outlive(Deliver{})
	if t.asleep {
		return out
	}
	for _, b := range t.biz {
		src, cfg, kind := t.source(b)
		if kind == "" || !cfg.Online || cfg.Consistency && cfg.Target == schemas.TargetUser && !t.verified {
			continue
		}
		var got []string
		for _, e := range t.w.logs[logKey(&src)] {
			if e.OplogID <= max(b.sent, b.floor, t.w.trimmed[logKey(&src)]) || e.OplogID > b.stop || !t.mine(b, cfg, e) {
				continue
			}
			if !t.room(e) {
				break
			}
			b.unacked = append(b.unacked, e)
			got = append(got, fmt.Sprint(e.OplogID))
			b.sent = e.OplogID
		}
		if len(got) > 0 {
			out[b.name] = strings.Join(got, " ")
		}
	}
	return out
}

func (t *twin) room(e *Entry) bool {
	n, size := 0, 0
	for _, b := range t.biz {
		for _, u := range b.unacked {
			n++
			size += Size(&u.Entry)
		}
	}
	return n < t.window.Entries && (n == 0 || size < t.window.Bytes && size+Size(&e.Entry) <= t.window.Bytes)
}

func (t *twin) mine(b *twinBiz, cfg *schemas.SyncConfig, e *Entry) bool {
	if e.NonPersistent && e.Arrival <= b.arrival || e.ValidTimeEnd > 0 && e.ValidTimeEnd < t.w.now {
		return false
	}
	fits := func(os, version string) bool {
		return (e.OSType == "" || strings.EqualFold(e.OSType, os)) &&
			(e.AppMinVersion == "" || version != "" && schemas.CompareVersions(version, e.AppMinVersion) >= 0)
	}
	if !fits(t.id.OS, t.id.AppVersion) {
		return false
	}
	if cfg.MultiDevice || cfg.Target == schemas.TargetDevice || cfg.Scope == schemas.ScopeGlobal {
		return true
	}
	for _, p := range t.newer {
		if slices.Contains(p.Biz, b.name) && fits(p.OS, p.AppVersion) && (p.Verified || !cfg.Consistency) {
			return false
		}
	}
	return true
}

// pair runs a session and its twin side by side.
type pair struct {
	t    *testing.T
	w    *world
	c    *client
	twin *twin
	ends []Ack // ends of spans that were delivered: where acknowledgements are exact
}

func (p *pair) step(in Input) {
	before := p.w.out.Len()
	want := p.twin.step(in) // the twin first: the session's points change the world
	out := p.c.step(in)
	var got []string
	for _, pt := range out.Points {
		got = append(got, fmt.Sprintf("%v=%d", pt.Source, pt.To))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		p.t.Fatalf("%s after %T%+v: points %v, twin %v\n%s", p.c.name, in, in, got, want, p.w.out.String()[before:])
	}
}

func (p *pair) deliver(limit Deliver) {
	want := p.twin.deliver()
	got := map[string]string{}
	for more := true; more; {
		limit.Changed, p.c.changed = p.c.changed, 0
		out := p.c.step(limit)
		for _, s := range out.Spans {
			for _, e := range s.Entries {
				got[s.BizType] = strings.TrimSpace(fmt.Sprint(got[s.BizType], " ", e.OplogID))
			}
			p.ends = append(p.ends, Ack{BizType: s.BizType, To: s.To})
		}
		more = out.More
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		p.t.Fatalf("%s at %d delivered %v, twin %v\n%+v\n%s", p.c.name, p.w.now, got, want, p.c.s, p.w.out.String()[max(0, p.w.out.Len()-600):])
	}
}

// TestTwin compares sessions with their twins under random input. With several
// businesses the window is wide: which of them gets the last room is the
// session's own choice.
func TestTwin(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		names := []string{"A", "B", "G", "D"}
		window := Window{}
		if seed%3 == 0 {
			names = names[rng.IntN(4):][:1]
			window = Window{Entries: 1 + rng.IntN(6), Bytes: 300 + rng.IntN(1000)}
		}
		runTwins(t, seed, rng, names, window)
	}
}

func runTwins(t *testing.T, seed uint64, rng *rand.Rand, names []string, window Window) {
	w := newWorld()
	var all []*pair
	one := func(in Input) { // to one session, and tell the others
		if len(all) == 0 {
			return
		}
		p := all[rng.IntN(len(all))]
		if _, ok := in.(Ack); ok {
			if len(p.ends) == 0 {
				return
			}
			in = p.ends[rng.IntN(len(p.ends))]
		}
		p.step(in)
		tellPeers(w, all)
	}
	reconfigure := func() {
		next := configs{}
		for _, name := range names {
			if rng.IntN(12) == 0 {
				continue
			}
			next[name] = randomConfig(rng, name, w.configs[name])
		}
		w.configs = next
		for _, p := range all {
			p.step(SettingsChanged{next})
		}
	}
	reconfigure()
	for range 150 {
		name := names[rng.IntN(len(names))]
		token := map[string]string{"A": "u", "B": "u", "G": "", "D": "d1"}[name]
		switch rng.IntN(24) {
		case 0:
			if len(all) < 3 {
				all = append(all, connectPair(t, w, rng, names, window, len(all)))
				tellPeers(w, all)
			}
		case 1:
			if len(all) > 0 {
				p := all[rng.IntN(len(all))]
				p.c.step(Close{})
				all = slices.DeleteFunc(all, func(q *pair) bool { return q == p })
				w.sessions = slices.DeleteFunc(w.sessions, func(c *client) bool { return c == p.c })
				tellPeers(w, all)
			}
		case 2:
			reconfigure()
		case 3:
			w.now += int64(rng.IntN(300))
		case 4:
			log := name + "/" + token
			w.trimmed[log] = max(w.trimmed[log], int64(rng.IntN(len(w.logs[log])+1))-3)
		case 5:
			one(Bind{UserID: []string{"u", "v", ""}[rng.IntN(3)], Until: randomEnd(rng, w.now), Biz: []Interest{{BizType: name, Point: int64(rng.IntN(5)), Known: rng.IntN(2) == 0}}})
		case 6:
			one(Verdict{rng.IntN(2) == 0})
		case 7:
			one(Foreground{})
		case 8:
			one(Background{})
		case 9:
			one(Register{[]Interest{{BizType: name, Point: int64(rng.IntN(10)), Known: rng.IntN(2) == 0}}})
		case 10:
			one(Unregister{[]string{name}})
		case 11, 12, 13, 14:
			one(Ack{})
		case 15:
			one(Tick{})
		default:
			w.push(name, token, randomEntry(rng, w.now))
		}
		for _, p := range all {
			p.deliver(Deliver{Entries: 1 + rng.IntN(4), Bytes: 100 + rng.IntN(500)})
		}
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
}

func tellPeers(w *world, all []*pair) {
	for i, p := range all {
		var newer []*Peer
		for _, q := range all[i+1:] {
			id := q.c.s.Identity()
			if id.UserID != "" && id.UserID == p.c.s.Identity().UserID && q.c.s.Foreground() {
				newer = append(newer, &Peer{OS: id.OS, AppVersion: id.AppVersion, Verified: q.c.s.Verified(), Biz: q.c.s.Businesses()})
			}
		}
		p.step(PeersChanged{newer})
	}
}

func connectPair(t *testing.T, w *world, rng *rand.Rand, names []string, window Window, n int) *pair {
	id := Identity{
		InstanceID: w.instance, DeviceID: fmt.Sprint("d", 1+rng.IntN(3)), UserID: []string{"u", "u", "v", ""}[rng.IntN(4)],
		Until: randomEnd(rng, w.now),
		OS:    []string{"", "iOS", "android"}[rng.IntN(3)], AppVersion: []string{"", "1.9", "1.10"}[rng.IntN(3)],
	}
	c := &client{w: w, name: fmt.Sprint("s", n), open: map[int]Source{}}
	c.s = New(id, c, w.configs, window)
	w.sessions = append(w.sessions, c)
	p := &pair{t: t, w: w, c: c, twin: &twin{w: w, id: id, window: window.clamp()}}
	var biz []Interest
	for _, name := range names {
		biz = append(biz, Interest{BizType: name, Point: int64(rng.IntN(12)), Known: rng.IntN(2) == 0})
	}
	p.step(Connect{Biz: biz, Background: rng.IntN(6) == 0})
	return p
}

// randomEnd is when the proof of a user ends: never, or soon.
func randomEnd(rng *rand.Rand, now int64) int64 {
	if rng.IntN(2) == 0 {
		return 0
	}
	return now + int64(rng.IntN(1000))
}

func randomConfig(rng *rand.Rand, name string, was *schemas.SyncConfig) *schemas.SyncConfig {
	cfg := &schemas.SyncConfig{
		BizType: name, Scope: schemas.ScopeSpecified, Target: schemas.TargetUser, MultiDevice: name == "A",
		Persistent: rng.IntN(4) > 0, Online: rng.IntN(6) > 0, Consistency: rng.IntN(5) == 0,
	}
	switch name {
	case "G":
		cfg.Scope = schemas.ScopeGlobal
	case "D":
		cfg.Target = schemas.TargetDevice
	case "A":
		cfg.RepushMode, cfg.Threshold = schemas.RepushThreshold, int64(1+rng.IntN(6))
	}
	if was != nil && rng.IntN(2) == 0 {
		return was
	}
	if rng.IntN(20) == 0 {
		cfg.MultiDevice = !cfg.MultiDevice // deleted and made again
	}
	return cfg
}

func randomEntry(rng *rand.Rand, now int64) *Entry {
	e := &Entry{Entry: schemas.Entry{Payload: strings.Repeat("x", rng.IntN(200)), ValidTimeEnd: now + int64(rng.IntN(2000))}}
	if rng.IntN(3) == 0 {
		e.OSType = []string{"ios", "Android"}[rng.IntN(2)]
	}
	if rng.IntN(4) == 0 {
		e.AppMinVersion = "1.10"
	}
	return e
}
