package embedded

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Lines of the broker itself: at most logBurst in logWindow. A full disk makes
// one for every batch.
const (
	logBurst  = 20
	logWindow = 10 * time.Second
)

// logger passes on the broker's warnings and errors.
type logger struct {
	to *slog.Logger

	mu      sync.Mutex
	since   time.Time
	lines   int
	dropped int
}

// Logf implements kfake.Logger.
func (l *logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level > kfake.LogLevelWarn || level == kfake.LogLevelNone {
		return
	}
	dropped, ok := l.admit(time.Now())
	if !ok {
		return
	}
	text := "embedded broker: " + strings.TrimSpace(fmt.Sprintf(format, args...))
	attrs := []any{}
	if dropped > 0 {
		attrs = append(attrs, "linesLeftOut", dropped)
	}
	if level == kfake.LogLevelError {
		l.to.Error(text, attrs...)
	} else {
		l.to.Warn(text, attrs...)
	}
}

func (l *logger) admit(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= logWindow {
		dropped = l.dropped
		l.since, l.lines, l.dropped = now, 0, 0
	}
	if l.lines >= logBurst {
		l.dropped++
		return 0, false
	}
	l.lines++
	return dropped, true
}
