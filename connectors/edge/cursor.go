package edge

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// A resume cursor is what an SSE client shows as Last-Event-ID: points by
// business, as in the syncPoints parameter, behind a tag that says whose they
// are. A cursor of another user or device is passed over: its points are of
// other logs.
//
//	tag;A:7,B:3@1764140400000
//
// Behind @ is the number of the last rewind that was shown with the point.

// cursorTag names who a cursor belongs to.
func cursorTag(id *session.Identity) string {
	h := xxh3.New()
	for _, part := range []string{id.InstanceID, id.UserID, id.DeviceID} {
		_, _ = h.WriteString(strconv.Itoa(len(part)))
		_, _ = h.WriteString(":")
		_, _ = h.WriteString(part)
	}
	var sum [4]byte
	full := h.Sum64()
	for i := range sum {
		sum[i] = byte(full >> (8 * i))
	}
	return hex.EncodeToString(sum[:])
}

// appendCursor appends where a client is when it has read the first of the
// spans: those behind it are not in its hands yet.
func appendCursor(b []byte, tag string, s *session.Session, spans []session.Span) []byte {
	b = append(b, tag...)
	sep := byte(';')
	s.Cursor(func(bizType string, point, rewind int64) {
		for i := len(spans) - 1; i > 0; i-- {
			if spans[i].BizType == bizType {
				point = spans[i].From
			}
		}
		b = append(b, sep)
		sep = ','
		b = append(b, escapeBiz(bizType)...)
		b = append(b, ':')
		b = strconv.AppendInt(b, point, 10)
		if rewind > 0 {
			b = strconv.AppendInt(append(b, '@'), rewind, 10)
		}
	})
	if sep == ';' {
		b = append(b, sep)
	}
	return b
}

// escapeBiz keeps a business's name apart from what stands around it. Most
// need nothing.
func escapeBiz(name string) string {
	var b []byte
	for i := range len(name) {
		c := name[i]
		plain := c > ' ' && c < 0x7f && strings.IndexByte("%,:;", c) < 0
		switch {
		case plain && b != nil:
			b = append(b, c)
		case !plain:
			if b == nil {
				b = append(b, name[:i]...)
			}
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	if b == nil {
		return name
	}
	return string(b)
}

// unescapeBiz reads what escapeBiz wrote, or a plain name.
func unescapeBiz(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	if name, err := url.PathUnescape(s); err == nil && escapeBiz(name) == s {
		return name
	}
	return s
}

// pointsMax bounds a list of points; a session has no more businesses.
const pointsMax = schemas.MaxInterests

// parsePoints reads "A:3,B:0@5".
func parsePoints(s string) (map[string]view.SyncPoint, error) {
	points := make(map[string]view.SyncPoint)
	for len(s) > 0 {
		var one string
		one, s, _ = strings.Cut(s, ",")
		at := strings.LastIndexByte(one, ':')
		if at <= 0 {
			return nil, fmt.Errorf("%.60q is not of the form business:id", one)
		}
		number, shown, behind := strings.Cut(one[at+1:], "@")
		id, err := strconv.ParseInt(number, 10, 64)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("%.60q: the id must be a whole number from 0 on", one)
		}
		var rewind int64
		if behind {
			if rewind, err = strconv.ParseInt(shown, 10, 64); err != nil || rewind < 0 {
				return nil, fmt.Errorf("%.60q: the rewind behind @ must be a whole number from 0 on", one)
			}
		}
		points[unescapeBiz(one[:at])] = view.SyncPoint{To: id, Rewind: rewind}
		if len(points) > pointsMax {
			return nil, fmt.Errorf("more than %d businesses", pointsMax)
		}
	}
	return points, nil
}

var errCursor = errors.New("it is not a cursor of this server")

// parseCursor reads a resume cursor. ours is false if it is another's, whose
// points do not count.
func parseCursor(s, tag string) (points map[string]view.SyncPoint, ours bool, err error) {
	head, rest, ok := strings.Cut(s, ";")
	if !ok || len(head) != 8 || strings.Trim(head, "0123456789abcdef") != "" {
		return nil, false, errCursor
	}
	points, err = parsePoints(rest)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errCursor, err)
	}
	return points, head == tag, nil
}
