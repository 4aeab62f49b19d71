package report

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and precision of a [Latency]: 1 µs to 10 min, three digits.
const (
	latencyMax    = 10 * time.Minute
	latencyDigits = 3
)

// Latency is a histogram of times with a fixed relative precision (0.1 %).
// Safe for concurrent use.
type Latency struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram // microseconds
}

// NewLatency gives an empty histogram.
func NewLatency() *Latency {
	return &Latency{h: hdrhistogram.New(1, latencyMax.Microseconds(), latencyDigits)}
}

// Record adds one time. Times beyond ten minutes count as ten minutes,
// negative ones as zero.
func (l *Latency) Record(d time.Duration) {
	us := min(max(d, 0), latencyMax).Microseconds()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.h.RecordValue(us); err != nil {
		panic(err) // within the range by the line above
	}
}

// Merge adds all of another histogram's times.
func (l *Latency) Merge(from *Latency) {
	from.mu.Lock()
	other := from.h.Clone()
	from.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.Merge(other)
}

// Count of recorded times.
func (l *Latency) Count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h.TotalCount()
}

// At is the time that the given percentage (0 to 100) of all is not above.
func (l *Latency) At(percentile float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if percentile >= 100 {
		return time.Duration(l.h.Max()) * time.Microsecond
	}
	return time.Duration(l.h.ValueAtPercentile(percentile)) * time.Microsecond
}

// Percentiles that reports show.
type Percentiles struct {
	Count                    int64
	P50, P90, P99, P999, Max time.Duration
}

// Percentiles of all recorded times.
func (l *Latency) Percentiles() Percentiles {
	return Percentiles{l.Count(), l.At(50), l.At(90), l.At(99), l.At(99.9), l.At(100)}
}

// MarshalText gives the standard HDR V2 compressed form, in base64, which
// other tools read too.
func (l *Latency) MarshalText() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads what MarshalText wrote.
func (l *Latency) UnmarshalText(b []byte) error {
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h = h
	return nil
}

// Milliseconds prints a time with three significant digits: 0.123, 1.23, 12.3, 123.
func Milliseconds(d time.Duration) string {
	return digits(float64(d) / float64(time.Millisecond))
}
