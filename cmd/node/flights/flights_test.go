package flights

import (
	"encoding/csv"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry/configfile"
)

func played(t *testing.T) []Event {
	t.Helper()
	events, err := Day()
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestDayHasItsCounts(t *testing.T) {
	count := make(map[string]int)
	for _, e := range played(t) {
		if e.Again {
			count["again"]++
		} else {
			count[e.Request.BizType]++
		}
	}
	// 979 flights, 180 cancelled; one of those that left is not known to have
	// arrived.
	want := map[string]int{Schedule: 979, Departure: 799, Arrival: 798, Delay: 1580, Notice: 65, "again": 102}
	if !reflect.DeepEqual(count, want) {
		t.Errorf("counted %v, want %v", count, want)
	}
}

func TestDayIsInOrderAndTheSameEachTime(t *testing.T) {
	events := played(t)
	if !reflect.DeepEqual(events, played(t)) {
		t.Error("a second day differs")
	}
	for i := 1; i < len(events); i++ {
		if events[i].At < events[i-1].At {
			t.Fatalf("event %d at %s comes after %s", i, events[i].At, events[i-1].At)
		}
	}
	if first, last := events[0].At, events[len(events)-1].At; first != 2*time.Hour || last < 24*time.Hour || last > 36*time.Hour {
		t.Errorf("the day goes from %s to %s", first, last)
	}
}

// TestDuplicatesAreCopies: a thirdMsgId comes again only with the same request,
// after the first.
func TestDuplicatesAreCopies(t *testing.T) {
	first := make(map[string]schemas.Request)
	for _, e := range played(t) {
		was, seen := first[e.Request.ThirdMsgID]
		if seen != e.Again {
			t.Errorf("%s: seen before is %v, marked is %v", e.Request.ThirdMsgID, seen, e.Again)
		}
		if seen && !reflect.DeepEqual(was, e.Request) {
			t.Errorf("%s comes again as another request", e.Request.ThirdMsgID)
		}
		first[e.Request.ThirdMsgID] = e.Request
	}
}

func TestRequestsFitTheConfig(t *testing.T) {
	file, err := configfile.Parse(Config())
	if err != nil {
		t.Fatal(err)
	}
	scopes := make(map[string]string)
	for _, s := range file.Instances[0].Sync {
		scopes[s.BizType] = s.Scope
	}
	if id := file.Instances[0].ID; id != Instance || len(file.Instances) != 1 {
		t.Errorf("the config is for %s", id)
	}
	if key := file.Instances[0].ClientKey; len(key) != 1 || key[0] != ClientKey {
		t.Errorf("its clients show %v", key)
	}
	for _, e := range played(t) {
		r := &e.Request
		if f := r.Validate(); !f.None() {
			t.Fatalf("%s: %v", r.ThirdMsgID, f)
		}
		scope, ok := scopes[r.BizType]
		if !ok || r.Global() != (scope == schemas.ScopeGlobal) || r.InstanceID != Instance {
			t.Fatalf("%s: business %q of scope %q does not fit it", r.ThirdMsgID, r.BizType, scope)
		}
		var m struct{ Text string }
		if err := json.Unmarshal([]byte(r.Payload), &m); err != nil || m.Text == "" {
			t.Fatalf("%s: payload %q: %v", r.ThirdMsgID, r.Payload, err)
		}
	}
}

// TestTimesAgreeWithTheRecords: on every flight, what the clocks say leaves room
// for the time in the air, which the timeline does not use, and not for much
// more; so the time zones are right.
func TestTimesAgreeWithTheRecords(t *testing.T) {
	all, err := flightsOf(records)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(records)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	for i, f := range all {
		if f.cancelled || f.lost {
			continue
		}
		row := rows[i+1]
		air, err := strconv.Atoi(row[column["air_time"]])
		if err != nil {
			t.Fatal(err)
		}
		if ground := f.landed - f.left - air; ground < 5 || ground > 180 {
			t.Errorf("%s to %s: %d min on the ground", f.number, f.to, ground)
		}
		if left := strings.ReplaceAll(hhmm(f.left), ":", ""); strings.TrimLeft(left, "0") != strings.TrimLeft(strings.Replace(row[column["dep_time"]], "2400", "0", 1), "0") {
			t.Errorf("%s: left at %s, the record says %s", f.number, left, row[column["dep_time"]])
		}
	}
}

func TestOneFlightInFull(t *testing.T) {
	all, err := flightsOf("year,sched_dep_time,dep_time,dep_delay,sched_arr_time,arr_time,arr_delay,carrier,flight,tailnum,origin,dest\n" +
		"2013,2300,106,126,145,355,130,UA,7,N1,EWR,ORD\n" +
		"2013,615,NA,NA,800,NA,NA,AA,8,NA,JFK,BOS\n")
	if err != nil {
		t.Fatal(err)
	}
	var d day
	for i := range all {
		d.flight(&all[i])
	}
	var got []string
	for _, e := range d.events {
		var m message
		if err := json.Unmarshal([]byte(e.Request.Payload), &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join([]string{e.At.String(), e.Request.LinkToken, e.Request.ThirdMsgID, m.Text}, "|"))
	}
	want := []string{
		"20h0m0s|N1|2013-03-08/UA7-EWR-23:00/SCHEDULE|UA7 EWR-ORD leaves at 23:00, arrives at 01:45",
		"23h15m0s|N1|2013-03-08/UA7-EWR-23:00/DELAY/15|UA7 EWR-ORD of 23:00 is still at the gate, 15 min late",
		"24h0m0s|N1|2013-03-08/UA7-EWR-23:00/DELAY/60|UA7 EWR-ORD of 23:00 is still at the gate, 1 h 00 min late",
		"25h0m0s|N1|2013-03-08/UA7-EWR-23:00/DELAY/120|UA7 EWR-ORD of 23:00 is still at the gate, 2 h 00 min late",
		"25h6m0s|N1|2013-03-08/UA7-EWR-23:00/DEPARTURE|UA7 EWR-ORD left at 01:06, 2 h 06 min late",
		"28h55m0s|N1|2013-03-08/UA7-EWR-23:00/ARRIVAL|UA7 EWR-ORD arrived at 03:55, 2 h 10 min late",
		"3h15m0s|AA8|2013-03-08/AA8-JFK-06:15/SCHEDULE|AA8 JFK-BOS leaves at 06:15, arrives at 08:00",
		"6h15m0s|AA8|2013-03-08/AA8-JFK-06:15/DELAY/cancelled|AA8 JFK-BOS of 06:15 is cancelled",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDamagedRecordsAreRefused(t *testing.T) {
	for text, says := range map[string]string{
		"":                     "header",
		"carrier\nUA\n":        "line 2: there is no column",
		"carrier,flight\nUA\n": "wrong number of fields",
		records[:2000] + "x,y": "wrong number of fields",
		records + "2013,3,8,1,x,1,1,1,1,A,1,N,EWR,BOS,1,1,1,1,z\n": `line 981: column sched_dep_time holds "x"`,
	} {
		if _, err := flightsOf(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", text, err, says)
		}
	}
}

func TestTokensNamesTheBusiestFirst(t *testing.T) {
	events := played(t)
	tokens := Tokens(events)
	if len(tokens) != 745 {
		t.Errorf("%d link tokens", len(tokens))
	}
	count := make(map[string]int)
	for _, e := range events {
		if !e.Again {
			count[e.Request.LinkToken]++
		}
	}
	for i := 1; i < len(tokens); i++ {
		if count[tokens[i]] > count[tokens[i-1]] {
			t.Fatalf("%s comes after %s", tokens[i], tokens[i-1])
		}
	}
}
