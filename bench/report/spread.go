package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Spread is the median of several runs with the smallest and the largest.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf gives the spread of at least one value; without any it is all NaN.
func SpreadOf(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	s := slices.Sorted(slices.Values(values))
	return Spread{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// Collect is the spread of one figure over several runs.
func Collect[T any](runs []T, figure func(T) float64) Spread {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = figure(r)
	}
	return SpreadOf(values)
}

// String prints "median (min–max)" with three significant digits.
func (s Spread) String() string {
	if math.IsNaN(s.Median) {
		return "–"
	}
	if s.Min == s.Max {
		return digits(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", digits(s.Median), digits(s.Min), digits(s.Max))
}

// Scaled multiplies all three, for another unit.
func (s Spread) Scaled(by float64) Spread { return Spread{s.Median * by, s.Min * by, s.Max * by} }

// digits prints a number with three significant digits, without an exponent.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case a == 0:
		return "0"
	case a >= 99.95:
		return thousands(int64(math.Round(v)))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// thousands prints an integer with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	from := 0
	if n < 0 {
		from = 1
	}
	for i := len(s) - 3; i > from; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Number prints a figure as tables show it.
func Number(v float64) string { return digits(v) }

// Count prints a whole number with commas.
func Count(n int64) string { return thousands(n) }
