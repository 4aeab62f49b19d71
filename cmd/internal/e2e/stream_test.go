package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// listenTo gives a listener the events of a server that says them on its first
// connection.
func listenTo(t *testing.T, want int64, events ...string) *Listener {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/sync/stream" {
			return
		}
		for i, e := range events {
			fmt.Fprintf(w, ": alive\n\nid: c%d\nevent: sync\ndata: %s\n\n", i, e)
		}
	}))
	defer srv.Close()
	l := &Listener{URL: srv.URL, Instance: "i", Device: "d", User: "u", Biz: []string{"A"}}
	l.Enough = func(l *Listener) bool { return l.To["A"] >= want }
	if err := l.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestListenerFindsWhatIsPlanted(t *testing.T) {
	a := &Audit{Entries: [][]*Entry{{}}}
	for i := range int64(3) {
		a.Entries[0] = append(a.Entries[0], &Entry{OplogID: i + 1, Request: Request{InstanceID: "i", BizType: "A", LinkToken: "u", ThirdMsgID: fmt.Sprint(i + 1), Payload: "p"}})
	}
	const one, two, three = `{"id":1,"thirdMsgId":"1","pl":"p"}`, `{"id":2,"thirdMsgId":"2","pl":"p"}`, `{"id":3,"thirdMsgId":"3","pl":"p"}`
	ev := func(from, to int, ops ...string) string {
		return fmt.Sprintf(`{"bizType":"A","from":%d,"to":%d,"op":[%s]}`, from, to, strings.Join(ops, ","))
	}
	for _, tt := range []struct {
		name   string
		events []string
		want   string // empty: sound
	}{
		{"sound", []string{ev(0, 2, one, two), ev(1, 3, two, three)}, ""},
		{"uncovered gap", []string{ev(0, 1, one), ev(2, 3, three)}, "covers (2,3] after 1"},
		{"lost within its range", []string{ev(0, 3, one, three)}, "for {ID:2"},
		{"reorder", []string{ev(0, 3, two, one, three)}, "id 1 after 2"},
		{"twice", []string{ev(0, 3, one, two, two, three)}, "id 2 after 2"},
		{"foreign", []string{ev(0, 3, one, two, `{"id":3,"thirdMsgId":"x","pl":"p"}`)}, "for {ID:3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := listenTo(t, 3, tt.events...).Compare(a)
			if tt.want == "" && len(f) > 0 || tt.want != "" && !slices.ContainsFunc(f, func(s string) bool { return strings.Contains(s, tt.want) }) {
				t.Errorf("want %q; findings %q", tt.want, f)
			}
		})
	}
}

// Who a request is for, by the words of the interface.
func TestFits(t *testing.T) {
	l := Listener{OS: "iOS", Version: "8.10.0"}
	for _, tt := range []struct {
		r    Request
		fits bool
	}{
		{Request{}, true}, {Request{OSType: "IOS"}, true}, {Request{OSType: "Android"}, false},
		{Request{AppMinVersion: "8.9"}, true}, {Request{AppMinVersion: "8.10.0.0"}, true}, {Request{AppMinVersion: "8.10.0.1"}, false},
		{Request{AppMaxVersion: "8.9.99"}, false}, {Request{AppMaxVersion: "8.10"}, true}, {Request{AppMaxVersion: "10"}, true},
		{Request{OSType: "iOS", AppMinVersion: "9"}, false},
	} {
		if l.fits(&tt.r) != tt.fits {
			t.Errorf("%+v: %v", tt.r, !tt.fits)
		}
	}
	if other := (Listener{}); other.fits(&Request{AppMinVersion: "1"}) || other.fits(&Request{OSType: "iOS"}) || !other.fits(&Request{}) {
		t.Error("a device that tells nothing")
	}
}
