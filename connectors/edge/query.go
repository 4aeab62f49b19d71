package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// queryBytesMax bounds the query of a stream: 64 businesses with their points,
// escaped, and room to spare.
const queryBytesMax = 32 << 10

// badField is a parameter that is wrong; it answers 400.
type badField struct{ field, why string }

func (e *badField) Error() string { return e.field + ": " + e.why }

// parseStream reads the query of GET /sync/stream and its Last-Event-ID.
// sessionMax says how long an instance's sessionIds may be. The error is a
// badField.
func parseStream(rawQuery, lastEventID string, sessionMax func(instanceID string) int) (*hello, error) {
	if len(rawQuery) > queryBytesMax {
		return nil, &badField{"query", fmt.Sprintf("over %d bytes", queryBytesMax)}
	}
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, &badField{"query", "it is not well-formed: " + err.Error()}
	}
	h := &hello{identity: session.Identity{
		InstanceID: q.Get("instanceId"), DeviceID: q.Get("deviceId"), UserID: q.Get("userId"), SessionID: q.Get("sessionId"),
		OS: q.Get("os"), AppVersion: q.Get("appVersion"),
	}}
	if !q.Has("biz") || q.Get("biz") == "" {
		h.biz = nil
	} else {
		h.biz = bizList(q.Get("biz"))
	}
	if field, why := h.check(sessionMax(h.identity.InstanceID)); why != "" {
		return nil, &badField{field, why}
	}
	if err := h.points(q.Get("syncPoints"), lastEventID); err != nil {
		return nil, err
	}
	return h, nil
}

// bizList reads "A,B"; a business that is named twice counts once.
func bizList(s string) []session.Interest {
	var all []session.Interest
	seen := make(map[string]bool)
	for _, name := range strings.Split(s, ",") {
		if name = unescapeBiz(name); !seen[name] {
			seen[name] = true
			all = append(all, session.Interest{BizType: name})
		}
	}
	return all
}

// points puts what the client holds beside its businesses: the resume cursor
// first, then what the query says.
func (h *hello) points(syncPoints, lastEventID string) error {
	said, err := parsePoints(syncPoints)
	if err != nil {
		return &badField{"syncPoints", err.Error()}
	}
	var resumed map[string]view.SyncPoint
	if lastEventID != "" {
		points, ours, err := parseCursor(lastEventID, cursorTag(&h.identity))
		if err != nil {
			return &badField{"Last-Event-ID", err.Error()}
		}
		if ours {
			resumed = points
		}
	}
	for i := range h.biz {
		b := &h.biz[i]
		if point, ok := resumed[b.BizType]; ok {
			b.Point, b.Rewind, b.Known, b.Resumed = point.To, point.Rewind, true, true
		} else if point, ok := said[b.BizType]; ok {
			b.Point, b.Rewind, b.Known = point.To, point.Rewind, true
		}
	}
	return nil
}

// check names the first field that is missing or too long.
func (h *hello) check(sessionMax int) (field, why string) {
	id := &h.identity
	for _, f := range []struct {
		name, value string
		max         int
		required    bool
	}{
		{"instanceId", id.InstanceID, schemas.MaxInstanceID, true},
		{"deviceId", id.DeviceID, schemas.MaxDeviceID, true},
		{"userId", id.UserID, schemas.MaxLinkToken, false},
		{"sessionId", id.SessionID, sessionMax, false},
		{"os", id.OS, schemas.MaxOSType, false},
		{"appVersion", id.AppVersion, schemas.MaxVersion, false},
	} {
		if field, why = checkName(f.name, f.value, f.max, f.required); why != "" {
			return field, why
		}
	}
	if !schemas.ValidVersion(id.AppVersion) {
		return "appVersion", "numbers between dots, such as 8.6.0.9999"
	}
	if len(h.biz) == 0 {
		return "biz", "it is required: name the businesses to follow, with commas between"
	}
	return checkInterests(h.biz)
}

// sessionMax is how long a sessionId of an instance may be, in characters: a
// token takes more room than an id.
func (s *Server) sessionMax(instanceID string) int {
	if s.cfg.UsesTokens != nil && s.cfg.UsesTokens(instanceID) {
		return tokenMax
	}
	return schemas.MaxSessionID
}

// checkName looks at one string.
func checkName(field, value string, limit int, required bool) (string, string) {
	switch {
	case required && value == "":
		return field, "it is required"
	case len(value) > limit && utf8.RuneCountInString(value) > limit:
		return field, fmt.Sprintf("over %d characters", limit)
	case !utf8.ValidString(value):
		return field, "not UTF-8"
	}
	return "", ""
}

func checkInterests(all []session.Interest) (field, why string) {
	if len(all) > schemas.MaxInterests {
		return "biz", fmt.Sprintf("more than %d businesses", schemas.MaxInterests)
	}
	for i := range all {
		if _, why := checkName("biz", all[i].BizType, schemas.MaxBizType, true); why != "" {
			return "biz", fmt.Sprintf("%.60q: %s", all[i].BizType, why)
		}
		if all[i].Point < 0 {
			return "biz", fmt.Sprintf("%.60q: a point cannot be negative", all[i].BizType)
		}
	}
	return "", ""
}

// bearer reads the client key of a request.
func bearer(r *http.Request) string {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

// asBadField gives the field that an error is about, or nil.
func asBadField(err error) *badField {
	var bad *badField
	if errors.As(err, &bad) {
		return bad
	}
	return nil
}
