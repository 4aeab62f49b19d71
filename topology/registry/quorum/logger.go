package quorum

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"

	"github.com/hashicorp/go-hclog"
)

// raftLogger gives what Raft says to slog.
func raftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Output: io.Discard, Level: hclog.Info})
	l.RegisterSink(sink{log})
	return l
}

type sink struct{ log *slog.Logger }

// closing reports that a line is about a connection that we closed ourselves,
// as every stop does.
func closing(args []any) bool {
	for _, a := range args {
		if err, ok := a.(error); ok && errors.Is(err, net.ErrClosed) {
			return true
		}
	}
	return false
}

// Accept writes one of Raft's lines. Raft warns of much that is ordinary in a
// quorum that changes leaders; only its errors are warnings to us.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Error && !closing(args) {
		to = slog.LevelWarn
	}
	ctx := context.Background()
	if !s.log.Enabled(ctx, to) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			args[i] = f[1:]
		}
	}
	s.log.Log(ctx, to, name+": "+msg, args...)
}
