package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestLatencyPercentiles(t *testing.T) {
	l := NewLatency()
	for i := 1; i <= 1000; i++ {
		l.Record(time.Duration(i) * time.Millisecond)
	}
	got := l.Percentiles()
	want := Percentiles{1000, 500 * time.Millisecond, 900 * time.Millisecond, 990 * time.Millisecond, 999 * time.Millisecond, time.Second}
	near := func(a, b time.Duration) bool { return math.Abs(float64(a-b)) <= 0.001*float64(b) }
	if got.Count != want.Count || !near(got.P50, want.P50) || !near(got.P90, want.P90) || !near(got.P99, want.P99) ||
		!near(got.P999, want.P999) || !near(got.Max, want.Max) {
		t.Errorf("got %+v, want about %+v", got, want)
	}
}

func TestLatencyOutOfRange(t *testing.T) {
	l := NewLatency()
	l.Record(-time.Second)
	l.Record(time.Hour)
	if l.At(50) > time.Microsecond || l.At(100) < latencyMax || l.Count() != 2 {
		t.Errorf("%+v", l.Percentiles())
	}
}

func TestLatencyTextRoundTripAndMerge(t *testing.T) {
	a, b := NewLatency(), NewLatency()
	a.Record(time.Millisecond)
	b.Record(time.Second)
	text, err := b.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	back := new(Latency)
	if err := back.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	a.Merge(back)
	if p := a.Percentiles(); p.Count != 2 || p.P50.Round(time.Millisecond) != time.Millisecond || p.Max.Round(time.Millisecond) != time.Second {
		t.Errorf("merged: %+v", p)
	}
	if err := back.UnmarshalText([]byte("not a histogram")); err == nil {
		t.Error("rubbish was decoded")
	}
}

func TestSpread(t *testing.T) {
	tests := []struct {
		in   []float64
		want string
	}{
		{nil, "–"},
		{[]float64{5}, "5.00"},
		{[]float64{3, 1, 2}, "2.00 (1.00–3.00)"},
		{[]float64{1, 2, 3, 4}, "2.50 (1.00–4.00)"},
		{[]float64{1234567, 99.96, 12.34}, "100 (12.3–1,234,567)"},
		{[]float64{0.12345}, "0.123"},
		{[]float64{-4321}, "-4,321"},
	}
	for _, tt := range tests {
		if got := SpreadOf(tt.in).String(); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	table := NewTable("what", "p50")
	table.Row("pipe → out", "1.4")
	table.Row("short")
	want := `| what       | p50 |
| ---------- | --: |
| pipe → out | 1.4 |
| short      |     |
`
	if got := table.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// wellFormed reads all of an XML document.
func wellFormed(t *testing.T, doc []byte) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(doc)))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
	}
}

func TestPercentilePlot(t *testing.T) {
	fast, slow := NewLatency(), NewLatency()
	for i := range 10_000 {
		fast.Record(time.Duration(i+500) * time.Microsecond)
		slow.Record(time.Duration(i+50_000) * time.Microsecond)
	}
	doc := PercentilePlot("a < b & c", []Curve{{"fast", fast}, {"slow", slow}, {"empty", NewLatency()}})
	wellFormed(t, doc)
	text := string(doc)
	for _, want := range []string{"a &lt; b &amp; c", ">0.1 ms<", ">100 ms<", ">99.9 %<", ">slow<"} {
		if !strings.Contains(text, want) {
			t.Errorf("plot has no %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("plot has %s", bad)
		}
	}
}

func TestBarPlot(t *testing.T) {
	doc := BarPlot("rates", "k/s", []Bar{{"one", SpreadOf([]float64{1, 2, 3})}, {"none", SpreadOf(nil)}})
	wellFormed(t, doc)
	if text := string(doc); !strings.Contains(text, "2.00 k/s") || !strings.Contains(text, "not measured") || strings.Contains(text, "NaN") {
		t.Errorf("plot:\n%s", text)
	}
	wellFormed(t, BarPlot("nothing", "", nil))
}

func TestMachineText(t *testing.T) {
	if got := javaVersion("openjdk version \"17.0.15\" 2025-04-15\nmore"); got != "17.0.15" {
		t.Errorf("java: %q", got)
	}
	if got := fieldOf([]byte("a: 1\nmodel name\t: AMD EPYC\n"), "model name"); got != "AMD EPYC" {
		t.Errorf("cpu: %q", got)
	}
	if got := release("6.1.0-13-amd64"); got != "6.1.0" {
		t.Errorf("kernel: %q", got)
	}
	if s := ThisMachine(t.Context()).String(); !strings.Contains(s, " cores, ") {
		t.Errorf("machine: %q", s)
	}
}
