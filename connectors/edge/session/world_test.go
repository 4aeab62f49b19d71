package session

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into the transcripts of testdata")

// world is everything around sessions, in the simplest form that works: logs
// are slices, sync points are maps, and sessions are asked to deliver after
// every command.
//
// A transcript is a list of commands, each followed by what it made happen,
// indented. See testdata.
type world struct {
	now      int64
	instance string
	configs  configs
	logs     map[string][]*Entry // by "biz" or "biz/token"
	trimmed  map[string]int64    // ids up to here are gone
	points   map[string]int64    // by "biz/target/device"
	acked    map[string]int64    // by "biz/target"
	rewinds  map[string]int64    // numbers, by the keys of points and acked
	arrival  uint64
	sessions []*client // in the order in which they came online
	hold     bool      // deliver only when told
	limit    Deliver
	out      strings.Builder
}

// client is a session and who drives it.
type client struct {
	w       *world
	name    string
	s       *Session
	changed uint64
	open    map[int]Source
	got     []string // "biz:id" in order
}

type configs map[string]*schemas.SyncConfig

func (c configs) Sync(_, bizType string) *schemas.SyncConfig { return c[bizType] }

func newWorld() *world {
	return &world{
		now: 1000, instance: "i", configs: configs{}, logs: map[string][]*Entry{}, trimmed: map[string]int64{},
		points: map[string]int64{}, acked: map[string]int64{}, rewinds: map[string]int64{},
	}
}

func logKey(s *Source) string { return s.BizType + "/" + s.LinkToken() }

func (c *client) Open(slot int, s *Source, newest, _ int64) (Start, error) {
	w := c.w
	if _, twice := c.open[slot]; twice {
		return Start{}, fmt.Errorf("slot %d is open already", slot)
	}
	c.open[slot] = *s
	log := w.logs[logKey(s)]
	start := Start{Acked: w.acked[s.BizType+"/"+s.Target], Arrival: w.arrival}
	if len(log) > 0 {
		start.Head = log[len(log)-1].OplogID
	}
	if newest > 0 {
		var kept []*Entry
		for _, e := range log {
			if !e.NonPersistent && e.OplogID > w.trimmed[logKey(s)] {
				kept = append(kept, e)
			}
		}
		if n := len(kept) - int(newest); n > 0 {
			start.Floor = kept[n-1].OplogID
		}
	}
	start.AckedRewind, start.Rewind = w.rewinds[s.BizType+"/"+s.Target], w.rewinds[s.BizType+"/"+s.Target+"/"+s.DeviceID]
	start.Point, start.Known = w.points[s.BizType+"/"+s.Target+"/"+s.DeviceID]
	return start, nil
}

func (c *client) Close(slot int, s *Source) {
	if c.open[slot] != *s {
		panic(fmt.Sprintf("%s closes slot %d as %v, open is %v", c.name, slot, *s, c.open[slot]))
	}
	delete(c.open, slot)
	c.changed &^= 1 << slot
}

func (c *client) Acked(s *Source) (int64, error) { return c.w.acked[s.BizType+"/"+s.Target], nil }

func (c *client) Read(s *Source, after int64, visit func(*Entry) bool) error {
	for _, e := range c.w.logs[logKey(s)] {
		if e.OplogID > max(after, c.w.trimmed[logKey(s)]) && !visit(e) {
			break
		}
	}
	return nil
}

// push appends an entry and tells those who follow its log.
func (w *world) push(biz, token string, e *Entry) {
	cfg := w.configs[biz]
	key := biz + "/" + token
	e.InstanceID, e.BizType, e.LinkToken = w.instance, biz, token
	e.OplogID = int64(len(w.logs[key])) + 1
	e.NonPersistent = cfg != nil && !cfg.Persistent && cfg.Scope != schemas.ScopeGlobal
	if e.NonPersistent {
		w.arrival++
		e.Arrival = w.arrival
	}
	w.logs[key] = append(w.logs[key], e)
	for _, c := range w.sessions {
		for slot, s := range c.open {
			if logKey(&s) == key { // global ones too: a reader may tell of them
				c.changed |= 1 << slot
			}
		}
	}
}

// step gives a session an input and does what it asks for.
func (c *client) step(in Input) Output {
	out := c.s.Step(c.w.now, in)
	if out.Err != nil {
		panic(out.Err)
	}
	for _, n := range out.Notices {
		fmt.Fprintf(&c.w.out, "    %s notice %d %s %d\n", c.name, n.Code, n.BizType, n.ID)
	}
	for _, p := range out.Points {
		fmt.Fprintf(&c.w.out, "    %s point %s/%s/%s = %d", c.name, p.Source.BizType, p.Source.Target, p.Source.DeviceID, p.To)
		if p.Entries > 0 {
			fmt.Fprintf(&c.w.out, ", %d entries", p.Entries)
		}
		c.w.out.WriteByte('\n')
		c.w.points[p.Source.BizType+"/"+p.Source.Target+"/"+p.Source.DeviceID] = p.To
		at := p.Source.BizType + "/" + p.Source.Target
		c.w.acked[at] = max(c.w.acked[at], p.To)
	}
	if out.Refused != "" {
		fmt.Fprintf(&c.w.out, "    %s refused: %s\n", c.name, out.Refused)
	}
	for _, span := range out.Spans {
		fmt.Fprintf(&c.w.out, "    %s <- %s (%d,%d]", c.name, span.BizType, span.From, span.To)
		if span.Rewind > 0 {
			fmt.Fprintf(&c.w.out, "/%d", span.Rewind)
		}
		for _, e := range span.Entries {
			c.got = append(c.got, fmt.Sprintf("%s:%d", e.BizType, e.OplogID))
			if len(span.Entries) <= 12 {
				fmt.Fprintf(&c.w.out, " %s", e.ThirdMsgID)
			}
		}
		if len(span.Entries) > 12 {
			fmt.Fprintf(&c.w.out, " %d entries", len(span.Entries))
		}
		c.w.out.WriteByte('\n')
	}
	return out
}

// deliver writes to every session all that it has.
func (w *world) deliver() {
	for _, c := range w.sessions {
		for more := true; more; {
			in := w.limit
			in.Changed, c.changed = c.changed, 0
			was := c.s.Blocked()
			more = c.step(in).More
			if c.s.Blocked() && !was {
				fmt.Fprintf(&w.out, "    %s waits for acknowledgements (%d entries, %d bytes)\n", c.name, c.s.Unacked().Entries, c.s.Unacked().Bytes)
			}
		}
	}
}

// peers tells every session which ones of its user came later.
func (w *world) peers() {
	for i, c := range w.sessions {
		var newer []*Peer
		for _, d := range w.sessions[i+1:] {
			id := d.s.Identity()
			if id.UserID != "" && id.UserID == c.s.Identity().UserID && d.s.Foreground() {
				newer = append(newer, &Peer{OS: id.OS, AppVersion: id.AppVersion, Verified: d.s.Verified(), Biz: d.s.Businesses()})
			}
		}
		c.step(PeersChanged{newer})
	}
}

func (w *world) find(name string) *client {
	for _, c := range w.sessions {
		if c.name == name {
			return c
		}
	}
	panic("no session " + name)
}

// options are the "key=value" words of a command; a word alone is "true".
type options map[string]string

func (o options) int(name string) int64 {
	if o[name] == "" {
		return 0
	}
	n, err := strconv.ParseInt(o[name], 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func interests(biz, points string) []Interest {
	var all []Interest
	for _, name := range strings.Split(biz, ",") {
		if name == "" {
			continue
		}
		in := Interest{BizType: name}
		for _, p := range strings.Split(points, ",") {
			if b, id, ok := strings.Cut(p, ":"); ok && b == name {
				id, rewind, _ := strings.Cut(id, "/")
				in.Point, _ = strconv.ParseInt(id, 10, 64)
				in.Rewind, _ = strconv.ParseInt(rewind, 10, 64)
				in.Known = true
			}
		}
		all = append(all, in)
	}
	return all
}

// do runs one command.
func (w *world) do(line string) {
	words := strings.Fields(line)
	o := options{}
	var args []string
	for _, word := range words[1:] {
		if k, v, ok := strings.Cut(word, "="); ok {
			o[k] = v
		} else {
			o[word] = "true"
			args = append(args, word)
		}
	}
	switch cmd := words[0]; cmd {
	case "now":
		w.now, _ = strconv.ParseInt(args[0], 10, 64)
	case "hold":
		w.hold = args[0] == "on"
	case "limit":
		w.limit = Deliver{Entries: int(o.int("entries")), Bytes: int(o.int("bytes"))}
	case "trim":
		w.trimmed[args[0]+"/"+args[1]] = o.int("to")
	case "config", "drop":
		w.configure(cmd, args[0], o)
	case "push":
		w.pushLine(args, o)
	case "connect":
		w.connect(args[0], o)
	case "rewind":
		w.rewind(args[0], args[1], o)
	case "cursor":
		w.out.WriteString("    " + args[0] + " cursor")
		w.find(args[0]).s.Cursor(func(biz string, id, rewind int64) {
			fmt.Fprintf(&w.out, " %s:%d", biz, id)
			if rewind > 0 {
				fmt.Fprintf(&w.out, "/%d", rewind)
			}
		})
		w.out.WriteByte('\n')
	case "standings":
		for _, s := range w.find(args[0]).s.Standings() {
			fmt.Fprintf(&w.out, "    %s %s from %d head %d unknown %v\n", args[0], s.BizType, s.From, s.Head, s.Unknown)
		}
	default:
		w.drive(cmd, w.find(args[0]), args[1:], o)
	}
	if !w.hold || words[0] == "deliver" {
		w.deliver()
	}
}

func (w *world) configure(cmd, biz string, o options) {
	next := configs{}
	for k, v := range w.configs {
		next[k] = v
	}
	delete(next, biz)
	if cmd == "config" {
		cfg := &schemas.SyncConfig{
			BizType: biz, Scope: schemas.ScopeSpecified, Target: schemas.TargetUser, RepushMode: schemas.RepushQueue,
			MultiDevice: o["multi"] != "", Persistent: o["volatile"] == "", Consistency: o["consistency"] != "", Online: o["offline"] == "",
		}
		if o["device"] != "" {
			cfg.Target = schemas.TargetDevice
		}
		if o["global"] != "" {
			cfg.Scope = schemas.ScopeGlobal
		}
		if n := o.int("threshold"); n > 0 {
			cfg.RepushMode, cfg.Threshold = schemas.RepushThreshold, n
		}
		next[biz] = cfg
	}
	w.configs = next
	for _, c := range w.sessions {
		c.step(SettingsChanged{next})
	}
}

func (w *world) pushLine(args []string, o options) {
	biz, token := args[0], args[1]
	if token == "*" {
		token = ""
	}
	for _, id := range args[2:] {
		n := 1
		if count := o.int("x"); count > 0 {
			n = int(count)
		}
		for range n {
			w.push(biz, token, &Entry{Entry: schemas.Entry{
				ThirdMsgID: id, Payload: strings.Repeat("p", int(o.int("size"))), OSType: o["os"],
				AppMinVersion: o["min"], AppMaxVersion: o["max"], ValidTimeEnd: o.int("until"),
			}, Written: o.int("written")})
		}
	}
}

func (w *world) connect(name string, o options) {
	id := Identity{InstanceID: w.instance, DeviceID: o["device"], UserID: o["user"], SessionID: o["session"], Until: o.int("until"), OS: o["os"], AppVersion: o["version"]}
	c := &client{w: w, name: name, open: map[int]Source{}}
	c.s = New(id, c, w.configs, Window{int(o.int("entries")), int(o.int("bytes"))})
	w.sessions = append(w.sessions, c)
	biz := interests(o["biz"], o["points"])
	for i := range biz {
		biz[i].Resumed = o["resumed"] != ""
	}
	c.step(Connect{Biz: biz, Background: o["background"] != ""})
	w.peers()
}

// rewind moves a device's point back, or that of a target whose devices share
// one, and tells those who follow the log.
func (w *world) rewind(biz, target string, o options) {
	key := biz + "/" + target
	if d := o["device"]; d != "" {
		key += "/" + d
		w.points[key] = min(w.points[key], o.int("to"))
	} else {
		w.acked[key] = min(w.acked[key], o.int("to"))
	}
	w.rewinds[key] = o.int("n")
	for _, c := range w.sessions {
		for slot, s := range c.open {
			if s.BizType == biz && s.Target == target && !s.Global {
				c.step(Rewound{Slots: 1 << slot})
			}
		}
	}
}

func (w *world) drive(cmd string, c *client, args []string, o options) {
	switch cmd {
	case "deliver":
	case "tick":
		c.step(Tick{})
	case "ack":
		to, _ := strconv.ParseInt(args[1], 10, 64)
		c.step(Ack{args[0], to, o.int("rewind")})
	case "register":
		c.step(Register{interests(o["biz"], o["points"])})
	case "unregister":
		c.step(Unregister{strings.Split(o["biz"], ",")})
	case "bind":
		c.step(Bind{UserID: o["user"], SessionID: o["session"], Until: o.int("until"), Biz: interests(strings.Join(c.s.Businesses(), ","), o["points"])})
	case "unbind":
		c.step(Unbind{})
	case "foreground":
		c.step(Foreground{})
	case "background":
		c.step(Background{})
	case "verdict":
		c.step(Verdict{args[0] == "valid"})
	case "close":
		c.step(Close{})
		if len(c.open) > 0 {
			panic(fmt.Sprintf("%s left %v open", c.name, c.open))
		}
		w.sessions = slices.DeleteFunc(w.sessions, func(d *client) bool { return d == c })
	default:
		panic("no command " + cmd)
	}
	w.peers()
}

// play runs a transcript and gives it back with what happened.
func play(text string) string {
	w := newWorld()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "    "): // what happened last time
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
			fmt.Fprintln(&w.out, line)
		default:
			fmt.Fprintln(&w.out, line)
			w.do(line)
		}
	}
	return w.out.String()
}

// tell plays a transcript that stands in a test; its lines may be indented by
// tabs.
func tell(t *testing.T, text string) {
	t.Helper()
	var clean strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(text, "\n")) {
		clean.WriteString(strings.TrimLeft(line, "\t"))
	}
	want := clean.String()
	if got := play(want); got != want {
		t.Errorf("what happened:\n%s\nwanted:\n%s", got, want)
	}
}

func TestTranscripts(t *testing.T) {
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".txt") {
			continue
		}
		t.Run(f.Name(), func(t *testing.T) {
			path := "testdata/" + f.Name()
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := []byte(play(string(want)))
			if *rewrite {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s: what happened (-rewrite to keep it):\n%s", path, got)
			}
		})
	}
}

func TestSizeOfLimits(t *testing.T) {
	if segmentsMax%2 != 0 || WindowBytes > math.MaxInt32 || schemas.MaxInterests > 64 {
		t.Error("join takes pairs, a segment counts bytes in 32 bits, and slots are bits of a word")
	}
}
