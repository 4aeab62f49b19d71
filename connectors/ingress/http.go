package ingress

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
)

// Headers of an answer, beside the body that the source fixes.
const (
	// HeaderOplogID holds the entry's id; for a duplicate the original's.
	HeaderOplogID = "Tidemark-Oplog-Id"
	// HeaderReason says in words what was wrong.
	HeaderReason = "Tidemark-Reason"
)

// The calls that there are.
const (
	pathSingle = "/webapi/sync/single"
	pathGlobal = "/webapi/sync/global"
)

// Authorize decides whether a call of an instance may be made, by its headers
// and before its body is read. What only the body can tell is asked of verify
// once that is there; nil: nothing. An error of either refuses the call with
// 401, NOT_AUTHORIZED and its text as the reason. See [Doorman].
type Authorize func(r *http.Request, instanceID string) (verify func(body []byte) error, err error)

// Handler serves POST /webapi/sync/single and /webapi/sync/global, under these
// very paths. Whatever is called is answered with a result; README has the
// codes and statuses. It wants a ResponseWriter whose read deadline can be set,
// as net/http's can, or bodies may be as slow as they like.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	r, end := s.traced(r)
	status := http.StatusOK
	res, err := s.handle(w, r)
	if err != nil {
		no := asRefusal(err)
		status, res = no.status, schemas.Result{Code: no.code, Reason: no.text}
		if no.retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(no.retry))
		}
		if no.close {
			w.Header().Set("Connection", "close")
			_ = http.NewResponseController(w).SetReadDeadline(began) // or the server reads on, to close a body in order
		}
		s.metrics.refused.WithLabelValues(no.label).Inc()
	}
	end(res.Code)
	s.metrics.observe(res.Code, time.Since(began))
	answer(w, status, &res)
}

func asRefusal(err error) *refusal {
	var no *refusal
	if errors.As(err, &no) {
		return no
	}
	return errOther.with(err)
}

// handle gives the result of a call, which is answered with status 200 as the
// source has it, or the refusal of what never became a request.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) (schemas.Result, error) {
	// It holds for what is refused too: before it answers, the HTTP server
	// reads what is left of a body. With a body's end the server ends it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout)) // see Handler
	scope, err := route(w, r)
	if err != nil {
		return schemas.Result{}, err
	}
	bytes, err := bodyBytes(r)
	if err != nil {
		return schemas.Result{}, err
	}
	if !s.places.enter(bytes) {
		return schemas.Result{}, errBusy
	}
	defer func() { s.places.leave(bytes) }()
	instance, err := instanceOf(r)
	if err != nil {
		return schemas.Result{}, err
	}
	body, err := s.admit(w, r, instance)
	if err != nil {
		return schemas.Result{}, err
	}
	s.places.giveBack(bytes - int64(len(body)))
	bytes = int64(len(body))
	return s.request(r, instance, scope, body)
}

// request asks for what a body says and gives the result.
func (s *Server) request(r *http.Request, instance, scope string, body []byte) (schemas.Result, error) {
	var req schemas.Request
	if err := req.DecodeJSON(body); err != nil {
		if errors.Is(err, schemas.ErrJSONSyntax) {
			return schemas.Result{}, errSyntax.with(err)
		}
		return schemas.Result{Code: schemas.ArgsInvalid, Reason: err.Error()}, nil
	}
	req.InstanceID, req.Scope = instance, scope
	if req.Global() {
		req.LinkToken = ""
	}
	if f := s.check(&req); !f.None() {
		return schemas.Result{Code: f.Code, Reason: f.Reason}, nil
	}
	res, err := s.exchange(r.Context(), &req)
	switch {
	case errors.Is(err, errBusy):
		return schemas.Result{}, errBusy
	case err != nil:
		s.cfg.Log.Warn("call without an answer", "instance", instance, "biz", req.BizType, "err", err)
		return schemas.Result{Code: schemas.SystemError, Reason: "outcome unknown, send it again with the same thirdMsgId: " + err.Error()}, nil
	}
	return res, nil
}

// sites tells calls of pages in a browser. Who is no browser says nothing of
// sites and passes.
var sites = http.NewCrossOriginProtection()

// route finds the call. A path is taken as it was sent: what a server would
// have to mend first was signed or judged by somebody else in another form.
func route(w http.ResponseWriter, r *http.Request) (scope string, err error) {
	switch r.URL.EscapedPath() {
	case pathSingle:
		scope = schemas.ScopeSpecified
	case pathGlobal:
		scope = schemas.ScopeGlobal
	default:
		return "", errNoSuchCall
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", errMethod
	}
	if sites.Check(r) != nil {
		return "", errSite
	}
	return scope, nil
}

// instanceOf reads whose call it is. Two instances in one query are none: who
// checked the call before us may have read the other one.
func instanceOf(r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["instanceId"]) > 1 {
		return "", errQuery
	}
	return query.Get("instanceId"), nil
}

// admit checks who calls and reads the body.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, instance string) (body []byte, err error) {
	var verify func([]byte) error
	if s.cfg.Authorize != nil {
		if verify, err = s.cfg.Authorize(r, instance); err != nil {
			return nil, err
		}
	}
	if body, err = readBody(w, r); err != nil {
		return nil, err
	}
	if verify != nil {
		err = verify(body)
	}
	return body, err
}

// check finds the faults that no change of settings could heal; the others are
// the task's to find.
func (s *Server) check(req *schemas.Request) schemas.Fault {
	_, f := s.cfg.Settings().Admit(req)
	switch f.Code {
	case "", schemas.BizNotOnline, schemas.NotSupportGlobal:
		if req.Base64 != "" { // cannot be put into a record
			return req.Validate()
		}
		return schemas.Fault{}
	}
	return f
}

func answer(w http.ResponseWriter, status int, res *schemas.Result) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	if res.OplogID != 0 {
		h.Set(HeaderOplogID, strconv.FormatInt(res.OplogID, 10))
	}
	if res.Reason != "" {
		h.Set(HeaderReason, printable(res.Reason))
	}
	w.WriteHeader(status)
	// The codes need no escaping.
	io.WriteString(w, `{"msg":"`+string(res.Code)+`","success":`+strconv.FormatBool(res.Code.OK())+"}") //nolint:errcheck // the caller has gone
}

// printable makes a header value of any text.
func printable(s string) string {
	const most = 300
	b := make([]byte, 0, min(len(s), most))
	for _, c := range s {
		if len(b) == most {
			break
		}
		if c < ' ' || c > '~' {
			c = '?'
		}
		b = append(b, byte(c))
	}
	return string(b)
}
