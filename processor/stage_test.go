package processor

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/topology"
)

// stage is a partition on which transcripts are played: one requests log, one
// oplog, and nodes that are told what to do. Nothing happens by itself.
//
//	config partitions=2 inflight=3   before anything else
//	settings A N,fleeting G,global   a control record that puts these businesses of instance i
//	tick 10m                         a control record that moves stream time
//	control newer|version|rules=9|forged|foreign|broken
//	push A u m1 [global] [json] [quiet] [payload=p]   instance i, link token u, thirdMsgId m1
//	raw "text" [content-type=x] [reply=x]             a record as it stands
//	hole                             an offset without a record
//	replace 3 A u m1                 another request in place of one that was decided
//
//	start n1          a task over n1's store, following
//	input n1 [2]      give it that many requests, or all until it is full
//	tail n1 [2]       have it read that many records of the oplog, or all
//	committed n1 7    tell it what the group has committed
//	own n1            make it the owner
//	marker n1         ask for a marker
//	take n1           put its outputs on the wire
//	append n1 [2]     that many of its appends, or all, reach the log
//	lose n1 [2]       that many of its appends are lost
//	ack n1 [2]        tell it of that many appends that have arrived, or all, at once
//	sent n1 [2]       tell it of that many side outputs, or all
//	apply n1          write the store
//	work n1           all of that, until nothing is left to do
//	crash n1 [empty]  the task is gone; with its disk
//	clone n1 n2       n2 gets a copy of n1's store
//
//	damage 2          change the payload in a record of the oplog
//	truncate 2        the oplog ends there
//	expire 2          the oplog begins there: retention has taken the rest
//	cover 5 prev=2    somebody puts a marker there
//	log               the oplog as a reader sees it
//	store n1          where a store stands
type stage struct {
	t        *testing.T
	cfg      Config
	requests []*Record // nil: a hole
	log      [][]byte
	logStart int64
	nodes    map[string]*node
	now      int64
	revision int64
	out      strings.Builder
}

type node struct {
	store   *Memory
	task    *Task
	readAt  int64
	appends []Output // on the wire
	arrived []arrival
	sides   []Output // sent, not acknowledged
}

type arrival struct {
	position, offset int64
	marker           bool
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, nodes: map[string]*node{}, now: 1_800_000_000_000}
	s.config("partitions=1")
	return s
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// run plays one command.
func (s *stage) run(line string) string {
	s.out.Reset()
	args := split(line)
	var err error
	switch name := args[0]; name {
	case "config":
		s.config(args[1:]...)
	case "settings", "tick", "control", "push", "raw", "hole", "replace":
		s.produce(args)
	case "damage", "truncate", "expire", "cover", "log":
		s.oplog(args)
	default:
		err = s.node(args)
	}
	var parked *ParkError
	if errors.As(err, &parked) {
		s.say("PARKED at %d: %v", parked.Position, parked)
	} else if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	if s.out.Len() == 0 {
		s.say("ok")
	}
	return s.out.String()
}

// split cuts a command into words; a quoted word may hold anything.
func split(line string) (words []string) {
	for line != "" {
		if quoted, err := strconv.QuotedPrefix(line); err == nil {
			word, _ := strconv.Unquote(quoted)
			words, line = append(words, word), line[len(quoted):]
		} else {
			word, _, _ := strings.Cut(line, " ")
			words, line = append(words, word), line[len(word):]
		}
		line = strings.TrimLeft(line, " ")
	}
	return words
}

// option finds name=value among the words.
func option(words []string, name string) (string, bool) {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v, true
		}
		if w == name {
			return "", true
		}
	}
	return "", false
}

func (s *stage) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// count is a command's optional number of things; without one, very many.
func (s *stage) count(args []string, at int) int {
	if len(args) <= at {
		return 1 << 30
	}
	return int(s.number(args[at]))
}

func (s *stage) config(words ...string) {
	partitions := int32(1)
	if v, ok := option(words, "partitions"); ok {
		partitions = int32(s.number(v))
	}
	if v, ok := option(words, "inflight"); ok {
		s.cfg.InFlightMax = int(s.number(v))
	}
	if v, ok := option(words, "bytes"); ok {
		s.cfg.InFlightBytesMax = int(s.number(v))
	}
	topo, err := topology.New(topology.Config{Partitions: partitions, Window: time.Hour})
	if err != nil {
		s.t.Fatal(err)
	}
	s.cfg.Topology = topo
}

// produce adds records to the requests partition.
func (s *stage) produce(args []string) {
	switch args[0] {
	case "settings":
		s.settings(args[1:])
	case "tick":
		d, err := time.ParseDuration(args[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.now += d.Milliseconds()
		s.add(s.control(&schemas.Control{Time: s.now}))
	case "control":
		s.strange(args[1])
	case "push":
		s.add(s.push(args[1:]))
	case "raw":
		r := &Record{Value: []byte(args[1]), RequestID: []byte("raw")}
		r.ContentType, _ = option(args, "content-type")
		r.Reply, _ = option(args, "reply")
		s.add(r)
	case "hole":
		s.requests = append(s.requests, nil)
	case "replace":
		at := s.number(args[1])
		r := s.push(args[2:])
		r.Offset = at
		s.requests[at] = r
	}
}

func (s *stage) add(r *Record) {
	r.Offset = int64(len(s.requests))
	s.requests = append(s.requests, r)
	s.say("request %d", r.Offset)
}

func (s *stage) control(c *schemas.Control) *Record {
	return &Record{Control: true, Value: c.Append(nil, s.cfg.ClusterKey)}
}

func (s *stage) settings(businesses []string) {
	s.revision++
	changes := []schemas.Change{{Kind: schemas.PutInstance, InstanceID: "i"}}
	for _, b := range businesses {
		words := strings.Split(b, ",")
		_, global := option(words, "global")
		_, fleeting := option(words, "fleeting")
		_, offline := option(words, "offline")
		sync := schemas.SyncConfig{BizType: words[0], Scope: schemas.ScopeSpecified, Target: schemas.TargetUser, Persistent: !fleeting, Online: !offline}
		if global {
			sync.Scope = schemas.ScopeGlobal
		}
		changes = append(changes, schemas.Change{Kind: schemas.PutSync, InstanceID: "i", Sync: sync})
	}
	s.add(s.control(&schemas.Control{Time: s.now, Revision: s.revision, Changes: changes}))
}

// strange adds a control record that is not of the usual kind.
func (s *stage) strange(kind string) {
	r := s.control(&schemas.Control{Time: s.now, Revision: s.revision + 1})
	if rules, ok := option([]string{kind}, "rules"); ok {
		r = s.control(&schemas.Control{Rules: s.number(rules)})
	}
	switch kind {
	case "newer":
		r.Value = s.newer(r.Value)
	case "version": // not signed with it
		r.Value[0]++
	case "forged":
		r.Value[5] ^= 1
	case "broken":
		r.Value = r.Value[:10]
	case "foreign":
		r = s.control(&schemas.Control{Partition: 7, Time: s.now, Revision: s.revision + 1})
	}
	s.add(r)
}

// newer signs a control record as a newer release would.
func (s *stage) newer(record []byte) []byte {
	body := record[1+sha256.Size:]
	mac := hmac.New(sha256.New, s.cfg.ClusterKey[:])
	mac.Write([]byte{2})
	mac.Write(body)
	return append(mac.Sum([]byte{2}), body...)
}

// push makes a request: business, link token, thirdMsgId, options.
func (s *stage) push(args []string) *Record {
	q := schemas.Request{InstanceID: "i", BizType: args[0], LinkToken: args[1], ThirdMsgID: args[2], Payload: "p-" + args[2]}
	if p, ok := option(args[3:], "payload"); ok {
		q.Payload = p
	}
	if _, ok := option(args[3:], "global"); ok {
		q.Scope, q.LinkToken = schemas.ScopeGlobal, ""
	}
	r := &Record{Value: q.AppendProto(nil)}
	if _, ok := option(args[3:], "json"); ok {
		r.ContentType = schemas.ContentJSON
		r.Value = fmt.Appendf(nil, `{"instanceId":"i","bizType":%q,"linkToken":%q,"thirdMsgId":%q,"payload":%q}`, q.BizType, q.LinkToken, q.ThirdMsgID, q.Payload)
	}
	if _, ok := option(args[3:], "quiet"); !ok {
		r.Reply, r.RequestID = "0", []byte("r"+strconv.Itoa(len(s.requests)))
	}
	return r
}

// oplog looks at the oplog, or harms it.
func (s *stage) oplog(args []string) {
	switch args[0] {
	case "damage":
		at := s.number(args[1])
		s.log[at] = bytes.Replace(s.log[at], []byte("p-"), []byte("q-"), 1)
	case "truncate":
		s.log = s.log[:s.number(args[1])]
	case "expire":
		s.logStart = s.number(args[1])
	case "cover":
		e := schemas.Entry{RequestOffset: s.number(args[1]), PrevOffset: chain.None}
		if v, ok := option(args, "prev"); ok {
			e.PrevOffset = s.number(v)
		}
		s.log = append(s.log, schemas.AppendChain(e.AppendCanonical(nil), s.chainAt(e.PrevOffset)))
	case "log":
		s.show()
	}
}

// chainAt finds the chain behind the entry of a position.
func (s *stage) chainAt(position int64) (c chain.Value) {
	for _, record := range s.log {
		var e schemas.Entry
		if err := e.Decode(record); err != nil {
			s.t.Fatal(err)
		}
		if e.RequestOffset == position && !e.Marker() {
			return e.Chain
		}
	}
	return c
}

// show prints the oplog as a reader from its beginning sees it.
func (s *stage) show() {
	r := chain.Start()
	if s.logStart > 0 {
		r = chain.Trust()
	}
	for offset, record := range s.log {
		if int64(offset) < s.logStart {
			continue
		}
		var e schemas.Entry
		if err := e.Decode(record); err != nil {
			s.say("%d: %v", offset, err)
			continue
		}
		v, err := r.Accept(record, &e)
		if err != nil {
			s.say("%d: %v", offset, err)
			return
		}
		s.say("%d: %-6s %s", offset, v, entryText(&e))
	}
}

func entryText(e *schemas.Entry) string {
	if e.Marker() {
		return fmt.Sprintf("covers up to %d, prev %d", e.RequestOffset, e.PrevOffset)
	}
	target := e.BizType + "/" + e.LinkToken
	if e.Global() {
		target = e.BizType + " global"
	}
	return fmt.Sprintf("position %d, prev %d: %s #%d %s=%s", e.RequestOffset, e.PrevOffset, target, e.OplogID, e.ThirdMsgID, e.Payload)
}
