package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// ackBodyMax bounds the body of POST /sync/ack.
const ackBodyMax = 8 << 10

// Handler serves GET /sync/stream, POST /sync/ack, GET /sync/ws and GET /route.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sync/stream", s.handleStream)
	mux.HandleFunc("POST /sync/ack", s.handleAck)
	mux.HandleFunc("GET /sync/ws", s.handleWS)
	mux.HandleFunc("GET /route", s.handleRoute)
	return mux
}

// answer is the body of every answer that is not a stream.
type answer struct {
	Success bool   `json:"success"`
	Field   string `json:"field,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

func fail(w http.ResponseWriter, status int, reason string) {
	reply(w, status, answer{Reason: reason})
}

func (s *Server) failField(w http.ResponseWriter, bad *badField) {
	reply(w, http.StatusBadRequest, answer{Field: bad.field, Reason: bad.Error()})
}

// refuse answers a connection that there is no room for.
func (s *Server) refuse(w http.ResponseWriter, why string) {
	reason := map[string]string{
		refusedNotReady:    "this edge does not serve clients now",
		refusedConnections: "this edge has as many connections as it may have",
		refusedOverloaded:  "too many clients connect at once",
	}[why]
	after := s.retryAfter(schemas.CloseOverloaded)
	w.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
	fail(w, http.StatusServiceUnavailable, reason)
}

func (s *Server) unauthorized(w http.ResponseWriter) {
	s.metrics.refused.WithLabelValues(refusedUnauthorized).Inc()
	w.Header().Set("WWW-Authenticate", `Bearer realm="tidemark"`)
	fail(w, http.StatusUnauthorized, "the client key is wrong: send Authorization: Bearer and a key of the instance")
}

// streamHeader is our own response header, for connections that are taken from
// the HTTP server. The body ends with the connection.
const streamHeader = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n" +
	"X-Accel-Buffering: no\r\nConnection: close\r\n"

// deviceCredentialHeader carries a device's credential, both ways.
const deviceCredentialHeader = "Tidemark-Device-Credential"

// userTokenHeader carries the token that proves the user, for clients that keep
// it out of the URL. It stands for sessionId where that is missing.
const userTokenHeader = "Tidemark-User-Token"

// handleStream is GET /sync/stream.
func (s *Server) handleStream(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // the mux takes HEAD for GET
		w.Header().Set("Allow", http.MethodGet)
		fail(w, http.StatusMethodNotAllowed, "use GET")
		return
	}
	began := s.cfg.Now()
	if why := s.admit(); why != "" {
		s.refuse(w, why)
		return
	}
	h, issued, ok := s.streamHello(w, r)
	if !ok {
		s.release()
		return
	}
	wire := &sse{tag: cursorTag(&h.identity)}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.streamResponse(w, r, h, wire, issued)
		return
	}
	defer s.release()
	_ = conn.SetDeadline(time.Time{})
	_ = rw // nothing more is expected from the client
	wire.header = append(wire.header, streamHeader...)
	if issued != "" {
		wire.header = append(wire.header, deviceCredentialHeader+": "+issued+"\r\n"...)
	}
	wire.header = append(wire.header, "\r\n"...)
	socket := newSocket(conn, s.spawn)
	c := s.connect(h, wire, socket, issued)
	s.spawn(func() { s.watch(c, socket) })
	s.metrics.connectSeconds.Observe(s.cfg.Now().Sub(began).Seconds())
}

// streamHello reads and checks a stream's request; ok is false if it has been
// answered.
func (s *Server) streamHello(w http.ResponseWriter, r *http.Request) (h *hello, issued string, ok bool) {
	h, err := parseStream(r.URL.RawQuery, r.Header.Get("Last-Event-ID"), s.sessionMax)
	if bad := asBadField(err); bad != nil && bad.field == "instanceId" {
		s.failField(w, bad)
		return nil, "", false
	}
	if !s.cfg.Authenticate(r.URL.Query().Get("instanceId"), bearer(r)) {
		s.unauthorized(w)
		return nil, "", false
	}
	if bad := asBadField(err); bad != nil {
		s.metrics.refused.WithLabelValues(refusedBad).Inc()
		s.failField(w, bad)
		return nil, "", false
	}
	if issued, ok = s.prove(w, r, &h.identity); !ok {
		return nil, "", false
	}
	return h, issued, true
}

// prove asks a request for the proofs of its user and its device. It has
// answered if they do not hold; issued is the credential of a new device.
func (s *Server) prove(w http.ResponseWriter, r *http.Request, id *session.Identity) (issued string, ok bool) {
	if err := s.admitUser(id, r.Header.Get(userTokenHeader)); err != nil {
		s.turnAwayHTTP(w, s.turnAway(err, schemas.CloseUnauthorized))
		return "", false
	}
	issued, err := s.admitDevice(id.InstanceID, id.DeviceID, r.Header.Get(deviceCredentialHeader))
	if err != nil {
		s.turnAwayHTTP(w, s.turnAway(err, schemas.CloseDevice))
		return "", false
	}
	return issued, true
}

func (s *Server) turnAwayHTTP(w http.ResponseWriter, r *refusal) {
	status := http.StatusForbidden
	switch r.code {
	case schemas.CloseUnauthorized:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="tidemark user"`)
	case schemas.CloseNotReady:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", strconv.Itoa(int(s.retryAfter(r.code)/time.Second)))
	}
	fail(w, status, r.reason)
}

// watch waits for a stream's client to leave. What it says is not heard.
func (s *Server) watch(c *client, socket *socket) {
	err := socket.read(func([]byte) error { return nil })
	if !gone(err) {
		s.log.Debug("stream ended", "session", c.name, "error", err)
	}
	c.close(schemas.CloseNormal, "the client left")
	_ = socket.conn.Close()
}

// streamResponse serves a stream over a connection that stays with the HTTP
// server, as with HTTP/2.
func (s *Server) streamResponse(w http.ResponseWriter, r *http.Request, h *hello, wire *sse, issued string) {
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Accel-Buffering", "no")
	if issued != "" {
		head.Set(deviceCredentialHeader, issued)
	}
	w.WriteHeader(http.StatusOK)
	link := newResponse(w, s.spawn)
	c := s.connect(h, wire, link, issued)
	s.release()
	select {
	case <-r.Context().Done():
		c.close(schemas.CloseNormal, "the client left")
		<-link.done
	case <-link.done:
	}
}

// ackRequest is the body of POST /sync/ack.
type ackRequest struct {
	InstanceID string `json:"instanceId"`
	DeviceID   string `json:"deviceId"`
	UserID     string `json:"userId"`
	BizType    string `json:"bizType"`
	To         *int64 `json:"to"`
	Rewind     int64  `json:"rewind"` // as in schemas.AckTo
}

// parseAck reads and checks a body. The error is a badField.
func parseAck(body []byte) (*ackRequest, error) {
	if err := schemas.CheckJSON(body); err != nil {
		return nil, &badField{"body", err.Error()}
	}
	a := new(ackRequest)
	if err := json.Unmarshal(body, a); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return nil, &badField{wrong.Field, "it has the wrong type"}
		}
		return nil, &badField{"body", "it must be a JSON object"}
	}
	for _, f := range []struct {
		name, value string
		max         int
		required    bool
	}{
		{"instanceId", a.InstanceID, schemas.MaxInstanceID, true},
		{"deviceId", a.DeviceID, schemas.MaxDeviceID, true},
		{"userId", a.UserID, schemas.MaxLinkToken, false},
		{"bizType", a.BizType, schemas.MaxBizType, true},
	} {
		if field, why := checkName(f.name, f.value, f.max, f.required); why != "" {
			return nil, &badField{field, why}
		}
	}
	if a.To == nil || *a.To < 0 {
		return nil, &badField{"to", "it is required: the largest id received, a whole number from 0 on"}
	}
	if a.Rewind < 0 {
		return nil, &badField{"rewind", "it cannot be negative"}
	}
	return a, nil
}

// ackFault is an acknowledgement that is refused.
type ackFault struct {
	status int
	reason string
}

func (e *ackFault) Error() string { return e.reason }

// handleAck is POST /sync/ack. It answers when the acks topic has the point.
func (s *Server) handleAck(w http.ResponseWriter, r *http.Request) {
	if !s.serving() {
		s.refuse(w, refusedNotReady)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ackBodyMax))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is over %d bytes, or broke off", ackBodyMax))
		return
	}
	a, err := parseAck(body)
	if bad := asBadField(err); bad != nil {
		s.failField(w, bad)
		return
	}
	if !s.cfg.Authenticate(a.InstanceID, bearer(r)) {
		s.unauthorized(w)
		return
	}
	// A sync point that somebody else moves is lost data.
	issued, ok := s.prove(w, r, &session.Identity{InstanceID: a.InstanceID, DeviceID: a.DeviceID, UserID: a.UserID})
	if !ok {
		return
	}
	if issued != "" { // an acknowledgement was the device's first word
		w.Header().Set(deviceCredentialHeader, issued)
	}
	err = s.acknowledge(r.Context(), a)
	var fault *ackFault
	bad := asBadField(err)
	switch {
	case err == nil:
		reply(w, http.StatusOK, answer{Success: true})
	case bad != nil:
		s.failField(w, bad)
	case errors.As(err, &fault):
		fail(w, fault.status, fault.reason)
	default:
		s.log.Error("cannot acknowledge", "error", err)
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "the acknowledgement could not be written: send it again")
	}
}

// acknowledge moves a sync point and waits until that is durable.
func (s *Server) acknowledge(ctx context.Context, a *ackRequest) error {
	cfg := s.settings().Sync(a.InstanceID, a.BizType)
	if cfg == nil {
		return &ackFault{http.StatusConflict, fmt.Sprintf("there is no business %q, so none of its ids was ever sent", a.BizType)}
	}
	if cfg.Target == schemas.TargetUser && a.UserID == "" {
		return &badField{"userId", "it is required: the business is one of users"}
	}
	done := make(chan error, 1)
	wait, err := s.ackLive(a, cfg, done)
	if err != nil || !wait {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ackLive lets the device's session decide, if there is one that follows the
// business. wait says that done will be told how it went.
func (s *Server) ackLive(a *ackRequest, cfg *schemas.SyncConfig, done chan error) (wait bool, err error) {
	c := s.hub.find(deviceKey{a.InstanceID, a.DeviceID})
	if c == nil {
		return s.ackStored(a, cfg, done)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return s.ackStored(a, cfg, done)
	}
	if user := c.session.Identity().UserID; cfg.Target == schemas.TargetUser && user != a.UserID {
		c.mu.Unlock()
		return false, &ackFault{http.StatusForbidden, fmt.Sprintf("device %q is not connected as user %q", a.DeviceID, a.UserID)}
	}
	if _, followed := c.session.Registered(a.BizType); !followed {
		c.mu.Unlock()
		return s.ackStored(a, cfg, done)
	}
	defer c.mu.Unlock()
	out := c.session.Step(s.nowMillis(), session.Ack{BizType: a.BizType, To: *a.To, Rewind: a.Rewind})
	if out.Refused != "" {
		err = &ackFault{http.StatusConflict, out.Refused}
	}
	for i := range out.Points {
		s.acks.send(&out.Points[i], func(err error) { done <- err })
		wait = true
	}
	out.Points = nil
	c.outcome(&out)
	return wait, err
}

// ackStored takes the acknowledgement of a device that is not connected, or
// not for this business.
func (s *Server) ackStored(a *ackRequest, cfg *schemas.SyncConfig, done chan error) (wait bool, err error) {
	src := session.Source{
		InstanceID: a.InstanceID, BizType: cfg.BizType, Target: a.UserID, DeviceID: a.DeviceID, Global: cfg.Scope == schemas.ScopeGlobal,
	}
	if cfg.Target == schemas.TargetDevice {
		src.Target = a.DeviceID
	}
	p, l := s.partitionOf(src.Target), pointLog(&src)
	head, acked, err := s.headOf(&src)
	if err != nil {
		return false, err
	}
	if *a.To > max(head, acked) && !src.Global {
		if head, err = s.catchUp(p, l, *a.To); err != nil {
			return false, err
		}
	}
	if *a.To > max(head, acked) {
		return false, &ackFault{http.StatusConflict, fmt.Sprintf("id %d is above the newest one, %d", *a.To, max(head, acked))}
	}
	point, known, err := p.point(l, src.DeviceID)
	if err != nil {
		return false, err
	}
	if cfg.Target == schemas.TargetUser && !known {
		d, err := p.view.Device(src.InstanceID, src.Target, src.DeviceID)
		if err != nil {
			return false, err
		}
		if d == nil {
			return false, &ackFault{http.StatusForbidden, fmt.Sprintf("device %q was never connected as user %q", a.DeviceID, a.UserID)}
		}
	}
	if cfg.Target == schemas.TargetUser && !cfg.MultiDevice && !src.Global {
		if point, err = p.taken(l); err != nil {
			return false, err
		}
	}
	if *a.To <= point.To || a.Rewind != 0 && a.Rewind < point.Rewind { // said before
		return false, nil
	}
	s.acks.send(&session.Point{Source: src, To: *a.To, Rewind: point.Rewind, Entries: *a.To - point.To}, func(err error) { done <- err })
	return true, nil
}

// headOf gives the newest id of a source, and the highest that was ever
// confirmed.
func (s *Server) headOf(src *session.Source) (head, acked int64, err error) {
	p := s.partitionOf(src.Target)
	if acked, err = p.highest(pointLog(src)); err != nil {
		return 0, 0, err
	}
	l := logOf(src)
	if src.Global {
		head, err = s.globals.store.Head(l)
	} else {
		head, err = p.head(l)
	}
	return head, acked, err
}

// head is the newest id of a log.
func (p *partition) head(l view.Log) (int64, error) {
	p.mu.Lock()
	var live int64
	if ll := p.live[l]; ll != nil {
		live = ll.head
	}
	p.mu.Unlock()
	head, err := p.view.Head(l)
	return max(head, live), err
}

// route is what GET /route answers: where to connect.
type route struct {
	Edge   string `json:"edge"`
	HTTP   string `json:"http,omitempty"`
	Native string `json:"native,omitempty"`
	Stream string `json:"stream"`
	WS     string `json:"ws"`
}

// handleRoute is GET /route. With one edge, it is this one.
func (s *Server) handleRoute(w http.ResponseWriter, r *http.Request) {
	instance := r.URL.Query().Get("instanceId")
	if instance == "" {
		s.failField(w, &badField{"instanceId", "it is required"})
		return
	}
	if !s.cfg.Authenticate(instance, bearer(r)) {
		s.unauthorized(w)
		return
	}
	reply(w, http.StatusOK, route{
		Edge: s.cfg.EdgeID, HTTP: s.cfg.PublicAddress, Native: s.cfg.NativeAddress, Stream: "/sync/stream", WS: "/sync/ws",
	})
}
