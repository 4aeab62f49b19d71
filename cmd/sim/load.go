package sim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
)

// Shape of the load: few names, so that they meet often.
const (
	windowMinutes = 60
	tokens        = 6
	commonIDs     = 12
	clockStart    = int64(1_800_000_000_000)
)

// request is a record of the requests topic, and what it means.
type request struct {
	rec processor.Record

	control    *schemas.Control // a control record that counts
	unreadable bool             // refused before anything in it is looked at
	refuse     schemas.Code     // a fault that needs no settings to be seen
	noReply    bool             // nobody can be answered

	instance, biz, link, id, payload, binary string
	os, min, max                             string
	valid                                    int64
	global                                   bool
	reply                                    int32
}

// key is the record key that decides where the request belongs.
func (q *request) key() string {
	if q.global {
		return q.instance + "/" + q.biz
	}
	return q.link
}

// String is how a transcript shows a request.
func (q *request) String() string {
	switch {
	case q.control != nil:
		return fmt.Sprintf("control time=+%dm revision=%d changes=%d", (q.control.Time-clockStart)/60_000, q.control.Revision, len(q.control.Changes))
	case q.unreadable:
		return "unreadable"
	case q.global:
		return fmt.Sprintf("global %s/%s id=%s", q.instance, q.biz, q.id)
	}
	s := fmt.Sprintf("%s/%s/%s id=%s", q.instance, q.biz, q.link, q.id)
	if q.refuse != "" {
		s += " faulty " + string(q.refuse)
	}
	return s
}

// load makes the requests of one partition.
type load struct {
	tape       *tape
	partitions int32
	partition  int32
	now        int64
	revision   int64
	serial     int
}

var clusterKey = schemas.ClusterKey{7}

// next makes a request, or nil: an offset that holds no record (a transaction
// marker, or a record of an aborted transaction).
func (l *load) next() *request {
	if l.serial++; l.serial == 1 && !l.tape.one(12) {
		return l.settings(firstSettings)
	}
	switch l.tape.n(24) {
	case 14, 15:
		return l.tick()
	case 16:
		return l.change()
	case 17:
		return l.strangeControl()
	case 18:
		return l.unreadable()
	case 19:
		return nil
	case 20, 21:
		return l.faulty()
	}
	return l.good()
}

func (l *load) good() *request {
	q := &request{instance: "i", biz: "A", reply: -1, payload: "p" + strconv.Itoa(l.serial), noReply: true}
	q.link = "u" + strconv.Itoa(l.tape.n(tokens))
	switch l.tape.n(12) {
	case 7:
		q.biz = "N"
	case 8, 9:
		q.biz, q.global = "G", true
		if !l.tape.one(4) {
			q.link = "" // else one that is passed over
		}
	case 10:
		q.biz = "F"
	case 11:
		q.instance = "j"
	}
	if l.tape.one(20) {
		q.global = !q.global // the wrong scope
	}
	q.id = "m" + strconv.Itoa(l.tape.n(commonIDs))
	if l.tape.one(3) {
		q.id = "s" + strconv.Itoa(l.serial)
	}
	l.extras(q)
	l.address(q)
	l.write(q)
	return q
}

// extras sets what only some requests have.
func (l *load) extras(q *request) {
	switch l.tape.n(10) {
	case 6:
		q.payload, q.binary = "", "\x00\xff"+q.payload
	case 7:
		q.os, q.min, q.max = "iOS", "1.0", "9.0.0.9999"
	case 8:
		q.valid = l.now + 60_000
	case 9:
		q.valid = l.now + 1000*60*60_000
	}
}

// address says who wants to know.
func (l *load) address(q *request) {
	if l.tape.one(4) {
		return
	}
	q.noReply, q.reply = false, int32(l.tape.n(int(l.partitions)))
	q.rec.Reply = strconv.Itoa(int(q.reply))
	q.rec.RequestID = []byte("r" + strconv.Itoa(int(l.partition)) + "." + strconv.Itoa(l.serial))
}

// write encodes the request.
func (l *load) write(q *request) {
	if l.tape.one(4) {
		q.rec.Value = q.json()
		if l.tape.one(2) {
			q.rec.ContentType = schemas.ContentJSON
		}
		return
	}
	r := schemas.Request{
		InstanceID: q.instance, BizType: q.biz, LinkToken: q.link, ThirdMsgID: q.id, Payload: q.payload, Binary: []byte(q.binary),
		OSType: q.os, AppMinVersion: q.min, AppMaxVersion: q.max, ValidTimeEnd: q.valid,
	}
	if q.global {
		r.Scope = schemas.ScopeGlobal
	}
	q.rec.Value = r.AppendProto(nil)
}

func (q *request) json() []byte {
	m := map[string]any{"instanceId": q.instance, "bizType": q.biz, "linkToken": q.link, "thirdMsgId": q.id}
	if q.payload != "" {
		m["payload"] = q.payload
	}
	if q.binary != "" {
		m["binaryPayload"] = base64.StdEncoding.EncodeToString([]byte(q.binary))
	}
	if q.os != "" {
		m["osType"], m["appMinVersion"], m["appMaxVersion"] = q.os, q.min, q.max
	}
	if q.valid != 0 {
		m["validTimeEnd"] = q.valid
	}
	if q.global {
		m["scope"] = "global"
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// faulty is a request that can be read and must be refused.
func (l *load) faulty() *request {
	q := &request{instance: "i", biz: "A", link: "u" + strconv.Itoa(l.tape.n(tokens)), id: "m1", payload: "p", noReply: true, reply: -1}
	switch l.tape.n(9) {
	case 0:
		q.instance = "nowhere"
	case 1:
		q.biz, q.refuse = "", schemas.ArgsIsNull
	case 2:
		q.link, q.refuse = "", schemas.ArgsIsNull
	case 3:
		q.payload, q.refuse = "", schemas.ArgsIsNull
	case 4:
		q.id, q.refuse = "", schemas.ThirdMsgIDIsNull
	case 5:
		q.payload, q.refuse = strings.Repeat("é", schemas.MaxPayload+1), schemas.PayloadLong
	case 6:
		q.id, q.refuse = strings.Repeat("é", schemas.MaxThirdMsgID+1), schemas.ThirdMsgIDLong
	case 7:
		q.os, q.refuse = "Plan9", schemas.ArgsInvalid
	case 8:
		q.biz = "unknown"
	}
	l.address(q)
	l.write(q)
	return q
}

// unreadable is a poison record.
func (l *load) unreadable() *request {
	q := &request{unreadable: true, refuse: schemas.ArgsInvalid, noReply: true, reply: -1}
	switch l.tape.n(6) {
	case 0:
		q.rec.Value = []byte("\xff\xff\xff")
	case 1:
		q.rec.Value = []byte(`{"instanceId":"i",`)
	case 2:
		q.rec.Value, q.rec.ContentType = []byte("x"), "text/plain"
	case 3:
		q.rec.Value, q.rec.Reply = []byte(`{}`), "everyone"
	case 4:
		q.rec.Value, q.rec.RequestID = []byte(`{}`), make([]byte, schemas.MaxRequestID+1)
	case 5:
		q.rec.Value = []byte(`{"instanceId":7}`)
		l.address(q)
	}
	return q
}

var firstSettings = []schemas.Change{
	{Kind: schemas.PutInstance, InstanceID: "i"},
	{Kind: schemas.PutInstance, InstanceID: "j"},
	{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "A", Scope: "specified", Target: "user", Persistent: true, Online: true}},
	{Kind: schemas.PutSync, InstanceID: "j", Sync: schemas.SyncConfig{BizType: "A", Scope: "specified", Target: "device", Persistent: true, Online: true}},
	{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "N", Scope: "specified", Target: "user", Online: true}},
	{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "G", Scope: "global", Target: "user", Online: true}},
	{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "F", Scope: "specified", Target: "user", Persistent: true}},
}

func (l *load) settings(changes []schemas.Change) *request {
	l.revision++
	return l.control(schemas.Control{Partition: l.partition, Time: l.now, Revision: l.revision, Changes: changes})
}

func (l *load) control(c schemas.Control) *request {
	return &request{control: &c, rec: processor.Record{Control: true, Value: c.Append(nil, clusterKey)}}
}

// tick moves stream time: a little, over the border of a bucket, or past the
// whole window; or it comes late.
func (l *load) tick() *request {
	l.now += []int64{10_000, 5 * 60_000, (windowMinutes/2 + 1) * 60_000, windowMinutes * 60_000, (windowMinutes*3/2 + 1) * 60_000}[l.tape.n(5)]
	at := l.now
	if l.tape.one(6) {
		at -= 2 * windowMinutes * 60_000
	}
	return l.control(schemas.Control{Partition: l.partition, Time: at})
}

// change alters the settings.
func (l *load) change() *request {
	put := func(instance string, s schemas.SyncConfig) []schemas.Change {
		return []schemas.Change{{Kind: schemas.PutSync, InstanceID: instance, Sync: s}}
	}
	switch l.tape.n(6) {
	case 0:
		return l.settings(put("i", schemas.SyncConfig{BizType: "F", Scope: "specified", Target: "user", Persistent: true, Online: true}))
	case 1:
		return l.settings(put("i", schemas.SyncConfig{BizType: "F", Scope: "specified", Target: "user", Persistent: true}))
	case 2:
		return l.settings([]schemas.Change{{Kind: schemas.DeleteSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "A"}}})
	case 3:
		return l.settings([]schemas.Change{{Kind: schemas.DeleteInstance, InstanceID: "j"}})
	case 4:
		return l.settings(firstSettings[1:4])
	}
	return l.settings(put("i", schemas.SyncConfig{BizType: "A", Scope: "specified", Target: "user", Online: true}))
}

// strangeControl is a control record that must change nothing, or only itself.
func (l *load) strangeControl() *request {
	drop := []schemas.Change{{Kind: schemas.DeleteInstance, InstanceID: "i"}}
	switch l.tape.n(5) {
	case 0: // sent again by a new leader: passed over
		return l.control(schemas.Control{Partition: l.partition, Revision: l.revision, Changes: drop})
	case 1: // the rules that are in force
		return l.control(schemas.Control{Partition: l.partition, Rules: 1})
	case 2:
		q := l.control(schemas.Control{Partition: l.partition, Time: l.now + 1e9, Revision: l.revision + 1, Changes: drop})
		q.rec.Value[40] ^= 1
		return refused(q)
	case 3:
		return refused(l.control(schemas.Control{Partition: l.partition + 1, Time: l.now + 1e9, Revision: l.revision + 1, Changes: drop}))
	}
	return refused(&request{rec: processor.Record{Control: true, Value: []byte{1, 2, 3}}})
}

func refused(q *request) *request {
	q.control, q.unreadable, q.refuse, q.noReply, q.reply = nil, true, schemas.ArgsInvalid, true, -1
	return q
}
