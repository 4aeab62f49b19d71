package view

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// oplog writes an oplog partition as a sync task does.
type oplog struct {
	records  []Record
	request  int64 // of the last entry
	next     int64 // request offset to use next
	chain    chain.Value
	ids      map[Log]int64
	accepted []schemas.Entry // in order
}

func newOplog() *oplog { return &oplog{request: chain.None, ids: map[Log]int64{}} }

func (o *oplog) append(value []byte, at int64) Record {
	r := Record{Offset: int64(len(o.records)), Time: at, Value: value}
	o.records = append(o.records, r)
	return r
}

// push accepts a request at a time.
func (o *oplog) push(e schemas.Entry, at int64) Record {
	l := Log{e.InstanceID, e.LinkToken, e.BizType}
	o.ids[l]++
	e.OplogID, e.RequestOffset, e.PrevOffset = o.ids[l], o.next, o.request
	buf := e.AppendCanonical(make([]byte, schemas.ChainLen))
	o.chain = chain.Next(o.chain, buf)
	e.Chain = o.chain
	o.request = o.next
	o.next += 1 + int64(len(o.records)%3) // some requests yield nothing
	o.accepted = append(o.accepted, e)
	return o.append(schemas.AppendChain(buf[schemas.ChainLen:], o.chain), at)
}

func (o *oplog) marker(at int64) Record {
	e := schemas.Entry{RequestOffset: o.next - 1, PrevOffset: o.request}
	return o.append(schemas.AppendChain(e.AppendCanonical(nil), o.chain), at)
}

// again appends a record a second time, as another owner would.
func (o *oplog) again(i int, at int64) Record { return o.append(o.records[i].Value, at) }

func shared(t testing.TB) *state.Shared {
	t.Helper()
	s, err := state.NewShared(state.SharedConfig{CacheBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func testConfig(t testing.TB, s *state.Shared, fs vfs.FS) Config {
	t.Helper()
	topo, err := topology.New(topology.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return Config{Shared: s, Topology: topo, Dir: "view", FS: fs, Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, cfg Config) *View {
	t.Helper()
	v, err := Open(3, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Begun() {
		if err := v.Begin(0, 0); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func ids(t testing.TB, v *View, l Log) []int64 {
	t.Helper()
	var all []int64
	if err := v.Read(l, 0, 1<<62, func(e *schemas.Entry, _ []byte) bool {
		all = append(all, e.OplogID)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// twin is the dumber view: everything in maps, nothing ever removed.
type twin struct {
	entries map[Log][]schemas.Entry // persistent ones
	heads   map[Log]int64
	points  map[Log]map[string]SyncPoint
	taken   map[Log]SyncPoint
	acked   map[Log]int64
	counts  map[Log]map[int64]Counts
	claims  map[[2]string]int64 // by instance and device
}

func (w *twin) clone() *twin {
	c := &twin{map[Log][]schemas.Entry{}, maps.Clone(w.heads), map[Log]map[string]SyncPoint{}, maps.Clone(w.taken), maps.Clone(w.acked), map[Log]map[int64]Counts{}, maps.Clone(w.claims)}
	for l, e := range w.entries {
		c.entries[l] = slices.Clone(e)
	}
	for l, p := range w.points {
		c.points[l] = maps.Clone(p)
	}
	for l, n := range w.counts {
		c.counts[l] = maps.Clone(n)
	}
	return c
}

func (w *twin) push(e schemas.Entry, at int64) {
	l := Log{e.InstanceID, e.LinkToken, e.BizType}
	w.heads[l] = e.OplogID
	w.count(l, at, Counts{Pushes: 1})
	if !e.NonPersistent {
		w.entries[l] = append(w.entries[l], e)
	}
}

func (w *twin) count(l Log, at int64, c Counts) {
	if w.counts[l] == nil {
		w.counts[l] = map[int64]Counts{}
	}
	sum := w.counts[l][at/hourMillis]
	w.counts[l][at/hourMillis] = Counts{sum.Pushes + c.Pushes, sum.Arrivals + c.Arrivals}
}

func (w *twin) ack(a schemas.Ack) {
	if a.Claim() {
		if device := [2]string{a.InstanceID, a.DeviceID}; w.claims[device] == 0 {
			w.claims[device] = a.To
		}
		return
	}
	l := Log{a.InstanceID, a.Target, a.BizType}
	if w.points[l] == nil {
		w.points[l] = map[string]SyncPoint{}
	}
	if a.Back {
		w.back(l, a)
		return
	}
	if taken, ok := w.taken[l]; ok && a.Rewind >= taken.Rewind && a.To > taken.To {
		w.taken[l] = SyncPoint{a.To, a.Rewind}
	}
	if a.To > w.acked[l] {
		n := a.Entries
		if w.points[l][a.DeviceID].To < w.acked[l] {
			n = min(n, a.To-w.acked[l])
		}
		w.count(l, a.Time, Counts{Arrivals: n})
		w.acked[l] = a.To
	}
	if a.Rewind >= w.points[l][a.DeviceID].Rewind {
		w.points[l][a.DeviceID] = SyncPoint{a.To, a.Rewind}
	}
}

// back rewinds a device, or the target.
func (w *twin) back(l Log, a schemas.Ack) {
	move := func(at SyncPoint, known bool) SyncPoint {
		if !known {
			return SyncPoint{a.To, max(a.Rewind, 1)}
		}
		return SyncPoint{min(a.To, at.To), max(a.Rewind, at.Rewind+1)}
	}
	if a.DeviceID != "" {
		at, known := w.points[l][a.DeviceID]
		w.points[l][a.DeviceID] = move(at, known)
		return
	}
	at, known := w.taken[l]
	if !known && w.acked[l] > 0 {
		at, known = SyncPoint{To: w.acked[l]}, true
	}
	w.taken[l] = move(at, known)
}

// compare holds a view against the twin at a time.
func (w *twin) compare(v *View, now int64, newest func(string, string) int64) error {
	for device, want := range w.claims {
		if who, err := v.Claim(device[0], device[1]); err != nil || who != want {
			return fmt.Errorf("device %q: claimed by %d, %v, twin %d", device, who, err, want)
		}
	}
	for l, head := range w.heads {
		n := newest("", l.BizType)
		floor, err := v.Floor(l, n)
		if err != nil {
			return err
		}
		var want, got []string
		for i, e := range w.entries[l] {
			if (n == 0 || i >= len(w.entries[l])-int(n)) && e.ValidTimeEnd >= now {
				want = append(want, fmt.Sprintf("%d %s", e.OplogID, e.Payload))
			}
		}
		if err := v.Read(l, floor, 1<<62, func(e *schemas.Entry, _ []byte) bool {
			if e.ValidTimeEnd >= now {
				got = append(got, fmt.Sprintf("%d %s", e.OplogID, e.Payload))
			}
			return true
		}); err != nil {
			return err
		}
		// Expired entries may be gone or not, so what the threshold counts
		// differs; the newest are the same.
		if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
			return fmt.Errorf("%v: %v, twin %v", l, got, want)
		}
		if n == 0 && len(got) != len(want) {
			return fmt.Errorf("%v: %v, twin %v", l, got, want)
		}
		if h, err := v.Head(l); err != nil || h != head {
			return fmt.Errorf("%v: head %d, %v, twin %d", l, h, err, head)
		}
		if a, err := v.Acked(l); err != nil || a != w.acked[l] {
			return fmt.Errorf("%v: acked %d, %v, twin %d", l, a, err, w.acked[l])
		}
		if err := w.comparePoints(v, l); err != nil {
			return err
		}
		stats, err := v.Stats(l.InstanceID, l.Target, now)
		var sum Counts
		for hour, c := range w.counts[l] {
			if hour >= firstHour(now) {
				sum.Pushes += c.Pushes
				sum.Arrivals += c.Arrivals
			}
		}
		if err != nil || stats[l.BizType] != sum {
			return fmt.Errorf("%v: counts %+v, %v, twin %+v", l, stats[l.BizType], err, sum)
		}
	}
	return nil
}

func (w *twin) comparePoints(v *View, l Log) error {
	points, err := v.Points(l)
	if err != nil || len(points) != len(w.points[l]) {
		return fmt.Errorf("%v: points %+v, %v, twin %v", l, points, err, w.points[l])
	}
	for _, p := range points {
		at, ok, err := v.SyncPoint(l, p.DeviceID)
		if err != nil || !ok || at != p.SyncPoint || at != w.points[l][p.DeviceID] {
			return fmt.Errorf("%v: device %s at %d, listed %d, %v, twin %d", l, p.DeviceID, at, p.SyncPoint, err, w.points[l][p.DeviceID])
		}
	}
	want, ok := w.taken[l]
	if !ok {
		want = SyncPoint{To: w.acked[l]}
	}
	if taken, err := v.Taken(l); err != nil || taken != want {
		return fmt.Errorf("%v: taken up to %d, %v, twin %d", l, taken, err, want)
	}
	return nil
}

// nasty names try to make two keys alike.
var nasty = []string{"a", "b", "ab", "", "\x01a", "a\x01", "\x00", "\u00ff", "aa\x02", strings.Repeat("x", 100)}

var seeds = flag.Uint64("seeds", 5, "how many random histories TestTwinThroughCrashes goes through")

// TestTwinThroughCrashes writes, sweeps, crashes and reopens at random. After
// a crash the view must be what the twin was at the position that it names.
func TestTwinThroughCrashes(t *testing.T) {
	s := shared(t)
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashRun(t, s, seed) })
	}
}

func crashRun(t *testing.T, s *state.Shared, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	fs := vfs.NewCrashableMem()
	cfg := testConfig(t, s, fs)
	cfg.MemTableBytes = 256 << 10
	cfg.Newest = func(_, biz string) int64 { return map[string]int64{"a": 3, "ab": 20}[biz] }
	v := open(t, cfg)
	log, acks := newOplog(), []Record{}
	now := int64(1_700_000_000_000)
	w := &twin{map[Log][]schemas.Entry{}, map[Log]int64{}, map[Log]map[string]SyncPoint{}, map[Log]SyncPoint{}, map[Log]int64{}, map[Log]map[int64]Counts{}, map[[2]string]int64{}}
	states := map[[2]int64]*twin{{0, 0}: w.clone()}
	for range 60 {
		now += rng.Int64N(2 * hourMillis)
		p := v.Position()
		w = states[[2]int64{p.Oplog, p.Acks}].clone() // what the view is now
		grow(rng, log, &acks, now)
		// Any prefix of what is there may come in one fetch.
		oplogTo := p.Oplog + rng.Int64N(int64(len(log.records))-p.Oplog+1)
		acksTo := p.Acks + rng.Int64N(int64(len(acks))-p.Acks+1)
		if _, err := v.Apply(log.records[p.Oplog:oplogTo], acks[p.Acks:acksTo]); err != nil {
			t.Fatal(err)
		}
		for _, r := range log.records[p.Oplog:oplogTo] {
			w.offer(t, r)
		}
		for _, r := range acks[p.Acks:acksTo] {
			var a schemas.Ack
			if err := a.Decode(r.Value); err != nil {
				t.Fatal(err)
			}
			w.ack(a)
		}
		states[[2]int64{oplogTo, acksTo}] = w.clone()
		if rng.IntN(3) == 0 {
			if _, err := v.Sweep(now, 1+rng.IntN(200)); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(6) == 0 {
			v, fs = crash(t, v, fs, &cfg, rng)
		}
		p = v.Position()
		if err := states[[2]int64{p.Oplog, p.Acks}].compare(v, now, cfg.Newest); err != nil {
			t.Fatalf("seed %d at %+v: %v", seed, p, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// offer gives the twin a record: it takes entries in order of their position.
func (w *twin) offer(t *testing.T, r Record) {
	var e schemas.Entry
	if err := e.Decode(bytes.Clone(r.Value)); err != nil {
		t.Fatal(err)
	}
	l := Log{e.InstanceID, e.LinkToken, e.BizType}
	if !e.Marker() && e.OplogID == w.heads[l]+1 {
		w.push(e, r.Time)
	}
}

func grow(rng *rand.Rand, log *oplog, acks *[]Record, now int64) {
	pick := func() Log {
		return Log{nasty[rng.IntN(3)], nasty[rng.IntN(len(nasty))], nasty[rng.IntN(5)]}
	}
	for range rng.IntN(40) {
		switch rng.IntN(12) {
		case 0:
			log.marker(now)
		case 1:
			if len(log.records) > 0 {
				log.again(rng.IntN(len(log.records)), now)
			}
		default:
			l := pick()
			log.push(schemas.Entry{
				InstanceID: l.InstanceID, LinkToken: l.Target, BizType: l.BizType, Payload: fmt.Sprint(rng.Uint64()),
				NonPersistent: rng.IntN(5) == 0, ValidTimeEnd: now + rng.Int64N(20*hourMillis),
			}, now)
		}
	}
	for range rng.IntN(10) {
		l := pick()
		a := schemas.Ack{InstanceID: l.InstanceID, Target: l.Target, BizType: l.BizType, DeviceID: nasty[rng.IntN(4)],
			To: rng.Int64N(12), Time: now, Entries: rng.Int64N(5), Rewind: rng.Int64N(4), Back: rng.IntN(4) == 0}
		*acks = append(*acks, Record{Offset: int64(len(*acks)), Time: now, Value: a.Append(nil)})
	}
}

// crash loses what was not synced, more or less of it, and opens what is left.
func crash(t *testing.T, v *View, fs *vfs.MemFS, cfg *Config, rng *rand.Rand) (*View, *vfs.MemFS) {
	t.Helper()
	left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.FS = left
	return open(t, *cfg), left
}

func TestReopenGoesOnWhereItWas(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	v := open(t, cfg)
	log := newOplog()
	for i := range 10 {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: fmt.Sprint(i), ValidTimeEnd: 1 << 50}, 1)
	}
	if _, err := v.Apply(log.records[:6], nil); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, cfg)
	defer v.Close()
	if p := v.Position(); p.Oplog != 6 || p.Acks != 0 || p.Entry != log.accepted[5].RequestOffset {
		t.Fatalf("reopened at %+v", p)
	}
	out, err := v.Apply(log.records[4:], nil) // the last two come again
	if err != nil || len(out.Entries) != 4 || out.Repeats != 2 {
		t.Fatalf("%d entries, %d repeats, %v", len(out.Entries), out.Repeats, err)
	}
	if got := ids(t, v, Log{"i", "u", "A"}); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("ids %v", got)
	}
}

// A log that contradicts itself stops the view in front of the contradiction.
func TestBrokenChainStops(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	v := open(t, cfg)
	defer v.Close()
	log := newOplog()
	for range 3 {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "truth"}, 1)
	}
	bad := bytes.Replace(log.records[2].Value, []byte("truth"), []byte("false"), 1)
	out, err := v.Apply([]Record{log.records[0], log.records[1], {Offset: 2, Value: bad}}, nil)
	var broken *chain.BrokenError
	if !errors.As(err, &broken) || !strings.Contains(err.Error(), "oplog offset 2") {
		t.Fatalf("error %v", err)
	}
	if len(out.Entries) != 2 || v.Position().Oplog != 2 {
		t.Errorf("%d entries, position %+v", len(out.Entries), v.Position())
	}
	// What is not damaged goes on from there.
	if out, err = v.Apply(log.records[2:], nil); err != nil || len(out.Entries) != 1 {
		t.Errorf("%d entries, %v", len(out.Entries), err)
	}
}

func TestOrphansAreLeftOut(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	log := newOplog()
	for range 3 {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "p"}, 1)
	}
	r := log.records
	r[2].Offset, r[1].Offset = 1, 2 // the append of the second failed, and came again
	again := Record{Offset: 3, Value: r[2].Value}
	out, err := v.Apply([]Record{r[0], r[2], r[1], again}, nil)
	if err != nil || out.Orphans != 1 || len(out.Entries) != 3 {
		t.Errorf("%d orphans, %d entries, %v", out.Orphans, len(out.Entries), err)
	}
}

// A view that is made when the log's beginning has expired takes the first
// entry as it stands, also if it is closed before that came.
func TestExpiredBeginning(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	log := newOplog()
	for range 6 {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "p"}, 1)
	}
	v, err := Open(3, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Begin(3, 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, cfg)
	defer v.Close()
	out, err := v.Apply(log.records[3:], nil)
	if err != nil || len(out.Entries) != 3 || v.Position().Trusting {
		t.Fatalf("%d entries, %v, %+v", len(out.Entries), err, v.Position())
	}
	if err := v.Begin(0, 0); err == nil {
		t.Error("a second beginning was taken")
	}
}

func TestThresholdIsTrimmed(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	cfg.Newest = func(string, string) int64 { return 16 }
	v := open(t, cfg)
	defer v.Close()
	log := newOplog()
	l := Log{"i", "u", "A"}
	for range 1000 {
		r := log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "p"}, 1)
		if _, err := v.Apply([]Record{r}, nil); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, v, l); len(got) > 16+3 || len(got) < min(16, len(log.accepted)) {
			t.Fatalf("%d kept after %d", len(got), len(log.accepted))
		}
	}
	if floor, err := v.Floor(l, 16); err != nil || floor != 984 {
		t.Errorf("floor %d, %v", floor, err)
	}
	// A threshold that was made smaller is applied by the sweep.
	v.newest = func(string, string) int64 { return 2 }
	if _, err := v.Sweep(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, v, l); !slices.Equal(got, []int64{999, 1000}) {
		t.Errorf("kept %v", got)
	}
}

func TestSweep(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	now := int64(1_700_000_000_000)
	log := newOplog()
	for i := range 300 {
		until := now - 1
		if i%3 == 0 {
			until = now + 1
		}
		token := nasty[i%len(nasty)]
		log.push(schemas.Entry{InstanceID: "i", LinkToken: token, BizType: "A", Payload: "p", ValidTimeEnd: until}, now-40*24*hourMillis)
	}
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "gone", BizType: "A", Payload: "p", ValidTimeEnd: 1}, now)
	ack := schemas.Ack{InstanceID: "i", Target: "a", BizType: "A", DeviceID: "d", To: 4, Time: now}
	if _, err := v.Apply(log.records, []Record{{Value: ack.Append(nil)}}); err != nil {
		t.Fatal(err)
	}
	rounds, looked, deleted := 0, 0, 0
	for rounds == 0 {
		done, err := v.Sweep(now, 7)
		if err != nil || done.Keys > 7 {
			t.Fatalf("%+v, %v", done, err)
		}
		looked += done.Keys
		deleted += done.Deleted
		if done.Round {
			rounds++
		}
	}
	if want := 201 + len(nasty); deleted != want { // entries, and counters of 40 days ago
		t.Errorf("%d deleted of %d looked at, want %d", deleted, looked, want)
	}
	for l := range log.ids {
		head, err := v.Head(l)
		if err != nil || head != log.ids[l] {
			t.Errorf("%v: head %d, %v, want %d", l, head, err, log.ids[l])
		}
	}
	if got := ids(t, v, Log{"i", "gone", "A"}); len(got) != 0 {
		t.Errorf("expired entries %v are still there", got)
	}
	if a, _ := v.Acked(Log{"i", "a", "A"}); a != 4 {
		t.Errorf("the sync point went: %d", a)
	}
}

// S003-158, S003-159.
func TestS003_158_159_Statistics(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	now := int64(1_700_000_000_000)
	log := newOplog()
	push := func(at int64) {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "p"}, at)
	}
	push(now - 31*24*hourMillis)
	push(now - 29*24*hourMillis)
	push(now - 1)
	push(now)
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "N", Payload: "p", NonPersistent: true}, now)
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "uu", BizType: "A", Payload: "p"}, now)
	var acks []Record
	for _, a := range []schemas.Ack{
		{DeviceID: "d1", To: 3, Entries: 2, Time: now},
		{DeviceID: "d2", To: 3, Entries: 3, Time: now}, // the same entries on another device
		{DeviceID: "d1", To: 3, Entries: 2, Time: now}, // said twice
	} {
		a.InstanceID, a.Target, a.BizType = "i", "u", "A"
		acks = append(acks, Record{Offset: int64(len(acks)), Value: a.Append(nil)})
	}
	if _, err := v.Apply(log.records, acks); err != nil {
		t.Fatal(err)
	}
	got, err := v.Stats("i", "u", now)
	if want := map[string]Counts{"A": {Pushes: 3, Arrivals: 2}, "N": {Pushes: 1}}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// The first claim of a device id counts, within a batch and over several, and
// when it comes again; it is no business and no point.
func TestClaims(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	offset := int64(0)
	claim := func(all ...schemas.Ack) {
		t.Helper()
		var records []Record
		for _, a := range all {
			records = append(records, Record{Offset: offset, Value: a.Append(nil)})
			offset++
		}
		if _, err := v.Apply(nil, records); err != nil {
			t.Fatal(err)
		}
	}
	of := func(instance, device string, who int64) schemas.Ack {
		return schemas.Ack{InstanceID: instance, Target: device, DeviceID: device, To: who, Time: 1_700_000_000_000}
	}
	if who, err := v.Claim("i", "d"); err != nil || who != 0 {
		t.Errorf("before: %d, %v", who, err)
	}
	claim(of("i", "d", 7), of("i", "d", 8), of("ii", "d", 9), of("i", "dd", 10))
	claim(of("i", "d", 11), of("i", "d", 7), of("ii", "d", 1<<62))
	for _, c := range []struct {
		instance, device string
		who              int64
	}{{"i", "d", 7}, {"ii", "d", 9}, {"i", "dd", 10}, {"id", "", 0}, {"i", "", 0}} {
		if who, err := v.Claim(c.instance, c.device); err != nil || who != c.who {
			t.Errorf("%q %q: %d, %v, want %d", c.instance, c.device, who, err, c.who)
		}
	}
	if all, err := v.Businesses("i", "d"); err != nil || len(all) != 0 {
		t.Errorf("businesses %q, %v", all, err)
	}
	if _, known, err := v.Point(Log{"i", "d", ""}, "d"); err != nil || known {
		t.Errorf("a point: %v, %v", known, err)
	}
	var out strings.Builder
	if err := v.Inspect(&out, Filter{InstanceID: "i", Target: "d"}); err != nil || out.String() != "claim  \"i\" \"d\": first connected 2023-11-14T22:13:20Z\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestDevices(t *testing.T) {
	cfg := testConfig(t, shared(t), vfs.NewMem())
	v := open(t, cfg)
	for i, d := range []string{"d1", "d2", "d1"} {
		if err := v.Touch(&Device{"i", "u", d, "iOS", "1.0", int64(10 + i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Touch(&Device{"i", "uu", "d9", "", "", 99}); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open(t, cfg)
	defer v.Close()
	all, err := v.Devices("i", "u")
	if err != nil || len(all) != 2 || all[0] != (Device{"i", "u", "d1", "iOS", "1.0", 12}) {
		t.Errorf("%+v, %v", all, err)
	}
	if last, err := v.LastOnline("i", "u"); err != nil || last.DeviceID != "d1" {
		t.Errorf("last %+v, %v", last, err)
	}
	if d, err := v.Device("i", "u", "d9"); err != nil || d != nil {
		t.Errorf("another's device: %+v, %v", d, err)
	}
}

func TestBusinesses(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	log := newOplog()
	for _, biz := range []string{"A", "B", "A", "AA"} {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: biz, Payload: "p"}, 1)
	}
	log.push(schemas.Entry{InstanceID: "i", LinkToken: "u2", BizType: "other", Payload: "p"}, 1)
	ack := schemas.Ack{InstanceID: "i", Target: "u", BizType: "G", DeviceID: "d", To: 1}
	if _, err := v.Apply(log.records, []Record{{Value: ack.Append(nil)}}); err != nil {
		t.Fatal(err)
	}
	got, err := v.Businesses("i", "u")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"A", "AA", "B", "G"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReadStopsAndBounds(t *testing.T) {
	v := open(t, testConfig(t, shared(t), vfs.NewMem()))
	defer v.Close()
	log := newOplog()
	for range 9 {
		log.push(schemas.Entry{InstanceID: "i", LinkToken: "u", BizType: "A", Payload: "p"}, 1)
	}
	if _, err := v.Apply(log.records, nil); err != nil {
		t.Fatal(err)
	}
	var got []int64
	err := v.Read(Log{"i", "u", "A"}, 2, 7, func(e *schemas.Entry, _ []byte) bool {
		got = append(got, e.OplogID)
		return len(got) < 3
	})
	if err != nil || !slices.Equal(got, []int64{3, 4, 5}) {
		t.Errorf("%v, %v", got, err)
	}
	got = nil
	if err := v.Newest(Log{"i", "u", "A"}, func(e *schemas.Entry) bool {
		got = append(got, e.OplogID)
		return len(got) < 2
	}); err != nil || !slices.Equal(got, []int64{9, 8}) {
		t.Errorf("newest %v, %v", got, err)
	}
}

func TestConfigNamesWhatIsMissing(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Shared":   {},
		"Topology": {Shared: &state.Shared{}},
		"Dir":      {Shared: &state.Shared{}, Topology: &topology.Topology{}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "Config."+want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
