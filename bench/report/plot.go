package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Size of every plot and the room around its drawing area, in pixels.
const (
	plotWidth  = 820
	plotHeight = 420
	plotLeft   = 70
	plotRight  = 230 // the legend stands there
	plotTop    = 44
	plotBottom = 52
)

// palette is Okabe and Ito's, which the colour-blind can tell apart.
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"}

// svg is a drawing under construction.
type svg struct{ strings.Builder }

func newSVG(title string, height int) *svg {
	s := &svg{}
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img">`, plotWidth, height)
	s.add(`<title>%s</title>`, html.EscapeString(title))
	s.add(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	s.text(plotLeft, 24, "start", title, `font-size="15" font-weight="bold"`)
	return s
}

func (s *svg) add(format string, args ...any) {
	fmt.Fprintf(s, format, args...)
	s.WriteByte('\n')
}

func (s *svg) text(x, y float64, anchor, text, more string) {
	s.add(`<text x="%.1f" y="%.1f" text-anchor="%s" fill="#222222" %s>%s</text>`, x, y, anchor, more, html.EscapeString(text))
}

func (s *svg) line(x1, y1, x2, y2 float64, colour string) {
	s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, x1, y1, x2, y2, colour)
}

func (s *svg) done() []byte {
	s.add(`</svg>`)
	return []byte(s.String())
}

// Curve is one line of a percentile plot.
type Curve struct {
	Name    string
	Latency *Latency
}

// plotPercentiles are the marks of the horizontal axis, which is logarithmic
// in what lies above: 50 %, 90 %, 99 % are equally far apart.
var plotPercentiles = []float64{0, 50, 90, 99, 99.9, 99.99}

// tailOf maps a percentile to its place on the axis: how many tenfold steps
// from everything.
func tailOf(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// PercentilePlot draws latency in milliseconds over percentiles, both axes
// logarithmic, one line per curve.
func PercentilePlot(title string, curves []Curve) []byte {
	s := newSVG(title, plotHeight)
	low, high := latencyRange(curves)
	right, bottom := float64(plotWidth-plotRight), float64(plotHeight-plotBottom)
	last := tailOf(plotPercentiles[len(plotPercentiles)-1])
	x := func(p float64) float64 { return plotLeft + tailOf(p)/last*(right-plotLeft) }
	y := func(ms float64) float64 {
		return bottom - (math.Log10(ms)-low)/(high-low)*(bottom-plotTop)
	}
	for e := low; e <= high; e++ {
		ms := math.Pow(10, e)
		s.line(plotLeft, y(ms), right, y(ms), "#dddddd")
		s.text(plotLeft-8, y(ms)+4, "end", plain(ms)+" ms", "")
	}
	for _, p := range plotPercentiles {
		s.line(x(p), plotTop, x(p), bottom, "#dddddd")
		s.text(x(p), bottom+18, "middle", plain(p)+" %", "")
	}
	s.text((plotLeft+right)/2, bottom+38, "middle", "percentile", "")
	for i, c := range curves {
		colour := palette[i%len(palette)]
		s.add(`<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`, colour, points(c.Latency, last, x, y, math.Pow(10, low)))
		s.legend(i, colour, c.Name)
	}
	return s.done()
}

// points samples a curve evenly along the axis, up to where single requests
// would decide.
func points(l *Latency, last float64, x, y func(float64) float64, least float64) string {
	const steps = 200
	var b strings.Builder
	for i := range steps + 1 {
		tail := last * float64(i) / steps
		p := 100 * (1 - math.Pow(10, -tail))
		if (1-p/100)*float64(l.Count()) < 1 {
			break
		}
		ms := max(l.At(p).Seconds()*1000, least)
		fmt.Fprintf(&b, "%.1f,%.1f ", x(p), y(ms))
	}
	return strings.TrimSpace(b.String())
}

// latencyRange gives whole powers of ten of milliseconds around all curves.
func latencyRange(curves []Curve) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		if c.Latency.Count() == 0 {
			continue
		}
		low = min(low, math.Floor(math.Log10(max(c.Latency.At(0).Seconds()*1000, 0.01))))
		high = max(high, math.Ceil(math.Log10(max(c.Latency.At(99.99).Seconds()*1000, 0.01))))
	}
	if math.IsInf(low, 1) {
		return 0, 1
	}
	return low, max(high, low+1)
}

func (s *svg) legend(i int, colour, name string) {
	x, y := float64(plotWidth-plotRight+18), float64(plotTop+12+20*i)
	s.add(`<rect x="%.1f" y="%.1f" width="14" height="4" fill="%s"/>`, x, y-6, colour)
	s.text(x+20, y, "start", name, "")
}

// plain prints a number as axes show it.
func plain(v float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}

// Bar is one bar: the median, and a whisker from the smallest to the largest.
type Bar struct {
	Name  string
	Value Spread
}

// Sizes of a bar plot.
const (
	barLeft   = 230 // the names stand there
	barRight  = 150 // the figures stand there
	barHeight = 22
	barStep   = 36
)

// BarPlot draws horizontal bars from zero with figures in the unit.
func BarPlot(title, unit string, bars []Bar) []byte {
	s := newSVG(title, plotTop+barStep*len(bars)+16)
	top := 0.0
	for _, b := range bars {
		if !math.IsNaN(b.Value.Max) {
			top = max(top, b.Value.Max)
		}
	}
	if top == 0 {
		top = 1
	}
	x := func(v float64) float64 { return barLeft + v/top*(plotWidth-barLeft-barRight) }
	for i, b := range bars {
		y := float64(plotTop + barStep*i)
		mid := y + barHeight/2
		s.text(barLeft-10, mid+4, "end", b.Name, "")
		if math.IsNaN(b.Value.Median) {
			s.text(barLeft, mid+4, "start", "not measured", "")
			continue
		}
		s.add(`<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`, barLeft, y, x(b.Value.Median)-barLeft, barHeight, palette[i%len(palette)])
		s.line(x(b.Value.Min), mid, x(b.Value.Max), mid, "#222222")
		s.line(x(b.Value.Min), mid-4, x(b.Value.Min), mid+4, "#222222")
		s.line(x(b.Value.Max), mid-4, x(b.Value.Max), mid+4, "#222222")
		s.text(x(b.Value.Max)+8, mid+4, "start", digits(b.Value.Median)+" "+unit, "")
	}
	return s.done()
}
