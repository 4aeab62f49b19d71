package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Op is one pushed item as a client got it.
type Op struct {
	ID         int64  `json:"id"`
	ThirdMsgID string `json:"thirdMsgId"`
	Payload    string `json:"pl"`
	Binary     bool   `json:"isB"`
}

// batch is the data of an SSE event.
type batch struct {
	BizType string `json:"bizType"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	Op      []Op   `json:"op"`
}

// Listener is a device that listens over Server-Sent Events, connects again
// whenever it is cut off, acknowledges what it got, and notes what was wrong.
// It belongs to one goroutine; read its fields after Listen has returned.
type Listener struct {
	URL, Instance, Key, Device, User string
	OS, Version                      string // of the app; empty: not told
	Biz                              []string
	// Pause, if set, runs after each event: a device that is slow.
	Pause func()
	// Enough, if set, ends Listen after the event that makes it true.
	Enough func(*Listener) bool

	Got      map[string][]Op // by business, each id once and ascending
	To       map[string]int64
	Findings Findings
	Connects int
	cursor   string
}

// reconnectAfter is the pause between two attempts to connect.
const reconnectAfter = 50 * time.Millisecond

// Listen goes on until the context ends or there is enough. The error says why
// there was not.
func (l *Listener) Listen(ctx context.Context) error {
	l.Got, l.To = make(map[string][]Op), make(map[string]int64)
	for {
		err := l.connection(ctx)
		if l.Enough != nil && l.Enough(l) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(reconnectAfter):
		}
	}
}

func (l *Listener) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := url.Values{"instanceId": {l.Instance}, "deviceId": {l.Device}, "userId": {l.User}, "sessionId": {"s"}, "biz": {strings.Join(l.Biz, ",")}, "os": {l.OS}, "appVersion": {l.Version}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL+"/sync/stream?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.Key)
	if l.cursor != "" {
		req.Header.Set("Last-Event-ID", l.cursor)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the stream answers %s", res.Status)
	}
	l.Connects++
	return l.events(ctx, bufio.NewReader(res.Body))
}

// events reads the stream as the HTML standard words it, as far as it is used.
func (l *Listener) events(ctx context.Context, in *bufio.Reader) error {
	var id, event string
	var data []byte
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "id":
			id = value
		case name == "event":
			event = value
		case name == "data":
			data = append(data, value...)
		case name == "" && value == "" && len(data) > 0:
			if event == "sync" {
				if err := l.take(ctx, data); err != nil {
					return err
				}
				l.cursor = id
				if l.Enough != nil && l.Enough(l) {
					return nil
				}
				if l.Pause != nil {
					l.Pause()
				}
			}
			id, event, data = "", "", nil
		}
	}
}

// take checks an event against what came before (I6).
func (l *Listener) take(ctx context.Context, data []byte) error {
	var b batch
	if err := json.Unmarshal(data, &b); err != nil {
		l.Findings.add("event is not JSON: %v: %.200s", err, data)
		return err
	}
	last := l.To[b.BizType]
	if b.From > last {
		l.Findings.add("I6: %s: an event covers (%d,%d] after %d", b.BizType, b.From, b.To, last)
	}
	at := b.From
	for _, op := range b.Op {
		if op.ID <= at || op.ID > b.To {
			l.Findings.add("I6: %s: id %d after %d in an event that covers (%d,%d]", b.BizType, op.ID, at, b.From, b.To)
		}
		at = op.ID
		if op.ID <= last {
			continue // not acknowledged in time: may come again
		}
		l.Got[b.BizType] = append(l.Got[b.BizType], op)
	}
	l.To[b.BizType] = max(last, b.To)
	// A lost ack is made up for by the next one.
	_ = l.ack(ctx, b.BizType, l.To[b.BizType])
	return nil
}

func (l *Listener) ack(ctx context.Context, biz string, to int64) error {
	body, err := json.Marshal(map[string]any{"instanceId": l.Instance, "deviceId": l.Device, "userId": l.User, "bizType": biz, "to": to})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL+"/sync/ack", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.Key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Compare says where a listener's ops differ from the oplog.
func (l *Listener) Compare(a *Audit) Findings {
	f := slices.Clone(l.Findings)
	for _, biz := range l.Biz {
		var want []Op
		for _, log := range a.Entries {
			for _, e := range log {
				if e.InstanceID == l.Instance && e.BizType == biz && (e.Global() || e.LinkToken == l.User || e.LinkToken == l.Device) && l.fits(&e.Request) {
					op := Op{ID: e.OplogID, ThirdMsgID: e.ThirdMsgID, Payload: e.Payload}
					if len(e.Binary) > 0 {
						op.Payload, op.Binary = Base64(e.Binary), true
					}
					want = append(want, op)
				}
			}
		}
		if !slices.Equal(l.Got[biz], want) {
			f.add("I6: %s: device %s got %d ops, the oplog has %d, or others: %s", biz, l.Device, len(l.Got[biz]), len(want), firstDiff(l.Got[biz], want))
		}
	}
	return f
}

// fits reports whether a device is one that a request is for.
func (l *Listener) fits(r *Request) bool {
	if r.OSType != "" && !strings.EqualFold(r.OSType, l.OS) {
		return false
	}
	return (r.AppMinVersion == "" || l.Version != "" && !older(l.Version, r.AppMinVersion)) &&
		(r.AppMaxVersion == "" || l.Version != "" && !older(r.AppMaxVersion, l.Version))
}

// older compares versions number by number; what is missing is 0.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var x, y int
		if i < len(as) {
			x, _ = strconv.Atoi(as[i])
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i])
		}
		if x != y {
			return x < y
		}
	}
	return false
}

func firstDiff(got, want []Op) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("lacks %+v", want[i])
		case i >= len(want):
			return fmt.Sprintf("has %+v, too", got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("%+v for %+v", got[i], want[i])
		}
	}
	return "none"
}
