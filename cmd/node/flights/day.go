package flights

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// The instance that the events are for, and what its clients show.
const (
	Instance  = "demo_FLIGHTS"
	ClientKey = "ck-demo"
)

// The businesses of the instance.
const (
	Schedule  = "SCHEDULE"
	Departure = "DEPARTURE"
	Arrival   = "ARRIVAL"
	Delay     = "DELAY"
	Notice    = "NOTICE" // global
)

//go:embed config.yaml
var config []byte

// Config is the config file of the instance and its businesses.
func Config() []byte { return slices.Clone(config) }

// Event is a request and when it is sent.
type Event struct {
	At      time.Duration // since midnight in New York
	Request schemas.Request
	// Again marks a request that was sent before, to the last byte.
	Again bool
}

const (
	ahead      = 180 // minutes that a schedule comes before a departure
	firstDelay = 15  // minutes late that count as late; BTS has it so
	againOneIn = 50  // requests sent a second time
)

// Day is the whole day, in the order of the events. It goes on into the next
// morning, until the last flight has arrived.
func Day() ([]Event, error) {
	all, err := flightsOf(records)
	if err != nil {
		return nil, err
	}
	var d day
	for i := range all {
		d.flight(&all[i])
	}
	d.notices(all)
	d.repeat()
	slices.SortFunc(d.events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Request.ThirdMsgID, b.Request.ThirdMsgID))
	})
	return d.events, nil
}

// Tokens lists the link tokens of events, those with the most events first:
// whom it is worth listening to.
func Tokens(events []Event) []string {
	count := make(map[string]int)
	for i := range events {
		if r := &events[i].Request; !r.Global() && !events[i].Again {
			count[r.LinkToken]++
		}
	}
	return slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
}

// day collects events.
type day struct {
	events []Event
}

// message is the payload of a flight's event. Text says it all; the rest is for
// programs.
type message struct {
	Text     string `json:"text"`
	Flight   string `json:"flight"`
	Aircraft string `json:"aircraft,omitempty"`
	From     string `json:"from"`
	To       string `json:"to"`
	Planned  string `json:"planned"`           // hh:mm, local
	Actual   string `json:"actual,omitempty"`  // the same
	Minutes  int    `json:"minutes,omitempty"` // late; negative: early
}

func (d *day) flight(f *flight) {
	leaves := hhmm(f.planned)
	d.add(max(0, f.planned-ahead), f, Schedule, "", message{
		Text:    fmt.Sprintf("%s %s-%s leaves at %s, arrives at %s", f.number, f.from, f.to, leaves, f.plannedIn),
		Planned: leaves,
	})
	if f.cancelled {
		d.add(f.planned, f, Delay, "cancelled", message{
			Text: fmt.Sprintf("%s %s-%s of %s is cancelled", f.number, f.from, f.to, leaves), Planned: leaves,
		})
		return
	}
	d.delays(f)
	d.add(f.left, f, Departure, "", message{
		Text:    fmt.Sprintf("%s %s-%s left at %s, %s", f.number, f.from, f.to, hhmm(f.left), punctual(f.late)),
		Planned: leaves, Actual: hhmm(f.left), Minutes: f.late,
	})
	if !f.lost {
		d.add(f.landed, f, Arrival, "", message{
			Text:    fmt.Sprintf("%s %s-%s arrived at %s, %s", f.number, f.from, f.to, f.in, punctual(f.lateIn)),
			Planned: f.plannedIn, Actual: f.in, Minutes: f.lateIn,
		})
	}
}

// delays tells of a flight that is still there.
func (d *day) delays(f *flight) {
	for late := firstDelay; late <= f.late; {
		d.add(f.planned+late, f, Delay, fmt.Sprint(late), message{
			Text:    fmt.Sprintf("%s %s-%s of %s is still at the gate, %s", f.number, f.from, f.to, hhmm(f.planned), punctual(late)),
			Planned: hhmm(f.planned), Minutes: late,
		})
		late += 60 - late%60 // on the full hours
	}
}

func punctual(late int) string {
	switch {
	case late == 0:
		return "on time"
	case late < 0:
		return fmt.Sprintf("%d min early", -late)
	case late < 60:
		return fmt.Sprintf("%d min late", late)
	}
	return fmt.Sprintf("%d h %02d min late", late/60, late%60)
}

// add makes an event of a flight. The detail tells messages of one flight and
// business apart.
func (d *day) add(minute int, f *flight, business, detail string, m message) {
	m.Flight, m.Aircraft, m.From, m.To = f.number, f.aircraft, f.from, f.to
	id := fmt.Sprintf("%s/%s-%s-%s/%s", Date, f.number, f.from, hhmm(f.planned), business)
	if detail != "" {
		id += "/" + detail
	}
	d.events = append(d.events, Event{At: time.Duration(minute) * time.Minute, Request: schemas.Request{
		InstanceID: Instance, BizType: business, LinkToken: f.token(), ThirdMsgID: id, Payload: payload(m),
	}})
}

// hour is what happened at one airport in one hour.
type hour struct {
	left, late, minutes, cancelled int
}

// notices tells everybody how each airport does.
func (d *day) notices(all []flight) {
	type place struct {
		airport string
		hour    int
	}
	hours := make(map[place]*hour)
	at := func(airport string, minute int) *hour {
		p := place{airport, max(0, minute) / 60}
		if hours[p] == nil {
			hours[p] = new(hour)
		}
		return hours[p]
	}
	for i := range all {
		f := &all[i]
		if f.cancelled {
			at(f.from, f.planned).cancelled++
			continue
		}
		h := at(f.from, f.left)
		h.left++
		h.minutes += max(0, f.late)
		if f.late >= firstDelay {
			h.late++
		}
	}
	for p, h := range hours {
		d.events = append(d.events, Event{At: time.Duration(p.hour+1) * time.Hour, Request: schemas.Request{
			InstanceID: Instance, BizType: Notice, Scope: schemas.ScopeGlobal,
			ThirdMsgID: fmt.Sprintf("%s/%s/%s/%02d", Date, Notice, p.airport, p.hour), Payload: h.payload(p.airport, p.hour),
		}})
	}
}

func (h *hour) payload(airport string, n int) string {
	average := 0
	if h.left > 0 {
		average = h.minutes / h.left
	}
	return payload(struct {
		Text      string `json:"text"`
		Airport   string `json:"airport"`
		Hour      string `json:"hour"` // its begin, hh:mm
		Left      int    `json:"left"`
		Late      int    `json:"late"`    // of those, by 15 minutes or more
		Average   int    `json:"average"` // minutes late
		Cancelled int    `json:"cancelled"`
	}{
		fmt.Sprintf("%s since %s: %d left, %d of them late, %d min on average; %d cancelled", airport, hhmm(n*60), h.left, h.late, average, h.cancelled),
		airport, hhmm(n * 60), h.left, h.late, average, h.cancelled,
	})
}

// repeat has some requests sent again, one to five minutes later.
func (d *day) repeat() {
	for _, e := range d.events {
		h := fnv.New32a()
		h.Write([]byte(e.Request.ThirdMsgID))
		sum := h.Sum32()
		if sum%againOneIn != 0 {
			continue
		}
		e.Again = true
		e.At += time.Duration(1+sum/againOneIn%5) * time.Minute
		d.events = append(d.events, e)
	}
}

func payload(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}
