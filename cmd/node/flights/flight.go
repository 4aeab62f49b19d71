package flights

import (
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Date of the day that is played.
const Date = "2013-03-08"

//go:embed 2013-03-08.csv
var records string

// minutesPerDay is a day on any of the clocks.
const minutesPerDay = 24 * 60

// flight is a line of the records. Times are minutes of New York's clock since
// the day's midnight unless they say local.
type flight struct {
	number   string // carrier and number
	aircraft string // tail number; empty if the record names none
	from, to string
	planned  int // to leave
	left     int // if it did
	landed   int // if it did
	late     int // when it left, minutes; negative: early
	lateIn   int // when it arrived

	plannedIn string // local time of arrival, hh:mm
	in        string // the same, as it was

	cancelled bool // never left
	lost      bool // left, and no arrival is recorded
}

// flightsOf reads all lines of the records.
func flightsOf(text string) ([]flight, error) {
	r := csv.NewReader(strings.NewReader(text))
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read the records' header: %w", err)
	}
	columns := make(map[string]int)
	for i, name := range header {
		columns[name] = i
	}
	var all []flight
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the records: %w", err)
		}
		l := line{columns: columns, fields: fields}
		f := l.flight()
		if l.err != nil {
			n, _ := r.FieldPos(0)
			return nil, fmt.Errorf("records, line %d: %w", n, l.err)
		}
		all = append(all, f)
	}
}

// line is one record on its way to a flight; the first fault stays.
type line struct {
	columns map[string]int
	fields  []string
	err     error
}

func (l *line) text(column string) string {
	i, ok := l.columns[column]
	if !ok {
		if l.err == nil {
			l.err = fmt.Errorf("there is no column %s", column)
		}
		return ""
	}
	if l.fields[i] == "NA" {
		return ""
	}
	return l.fields[i]
}

func (l *line) number(column string) int {
	s := l.text(column)
	n, err := strconv.Atoi(s)
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("column %s holds %q, not a number", column, s)
	}
	return n
}

// clock reads hhmm as minutes since midnight.
func (l *line) clock(column string) int {
	n := l.number(column)
	return n/100*60 + n%100
}

func (l *line) flight() flight {
	f := flight{
		number: l.text("carrier") + l.text("flight"), aircraft: l.text("tailnum"),
		from: l.text("origin"), to: l.text("dest"),
		planned: l.clock("sched_dep_time"), plannedIn: hhmm(l.clock("sched_arr_time")),
		cancelled: l.text("dep_time") == "",
	}
	if f.cancelled {
		return f
	}
	f.late = l.number("dep_delay")
	f.left = f.planned + f.late
	f.lost = l.text("arr_time") == ""
	if f.lost {
		return f
	}
	arrival := l.clock("arr_time")
	f.in, f.lateIn = hhmm(arrival), l.number("arr_delay")
	// No flight here takes a day, so the clocks alone tell how long it took.
	took := arrival - f.left - 60*hoursFromNewYork[f.to]
	f.landed = f.left + (took%minutesPerDay+minutesPerDay)%minutesPerDay
	return f
}

// token is the link token of what concerns the flight.
func (f *flight) token() string {
	if f.aircraft == "" {
		return f.number
	}
	return f.aircraft
}

// hhmm writes minutes since midnight as a clock shows them.
func hhmm(minutes int) string {
	m := (minutes%minutesPerDay + minutesPerDay) % minutesPerDay
	return fmt.Sprintf("%02d:%02d", m/60, m%60)
}
