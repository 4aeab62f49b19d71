package ingress

import (
	"errors"
	"io"
	"net/http"
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

// Authorize decides whether a call may be made; a non-nil error refuses it
// with 401, NOT_AUTHORIZED and the error's text as the reason ([ErrReplaysFull]:
// 503). body is the call's whole body. See [Doorman].
type Authorize func(r *http.Request, instanceID string, body []byte) error

// Handler serves POST /webapi/sync/single and /webapi/sync/global.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webapi/sync/single", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, schemas.ScopeSpecified) })
	mux.HandleFunc("POST /webapi/sync/global", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, schemas.ScopeGlobal) })
	return mux
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, scope string) {
	began := time.Now()
	r, end := s.traced(r)
	status, res := s.handle(w, r, scope)
	end(res.Code)
	s.metrics.observe(res.Code, time.Since(began))
	answer(w, status, &res)
}

// handle gives the HTTP status and the result of a call. Business outcomes are
// all 200, as the source has it; other statuses are for what never became a
// request.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, scope string) (int, schemas.Result) {
	refuse := func(status int, code schemas.Code, reason string) (int, schemas.Result) {
		return status, schemas.Result{Code: code, Reason: reason}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, schemas.MaxRequestBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, schemas.ArgsInvalid, "the body is over "+strconv.Itoa(schemas.MaxRequestBytes)+" bytes")
	case err != nil:
		return refuse(http.StatusBadRequest, schemas.ArgsInvalid, "the body did not arrive whole")
	}
	instance := r.URL.Query().Get("instanceId")
	if s.cfg.Authorize != nil {
		if err := s.cfg.Authorize(r, instance, body); err != nil {
			if errors.Is(err, ErrReplaysFull) {
				w.Header().Set("Retry-After", "60")
				return refuse(http.StatusServiceUnavailable, schemas.SystemError, err.Error())
			}
			return refuse(http.StatusUnauthorized, schemas.NotAuthorized, err.Error())
		}
	}
	var req schemas.Request
	if err := req.DecodeJSON(body); err != nil {
		status := http.StatusOK
		if errors.Is(err, schemas.ErrJSONSyntax) {
			status = http.StatusBadRequest
		}
		return refuse(status, schemas.ArgsInvalid, err.Error())
	}
	req.InstanceID, req.Scope = instance, scope
	if req.Global() {
		req.LinkToken = ""
	}
	if f := s.check(&req); !f.None() {
		return refuse(http.StatusOK, f.Code, f.Reason)
	}
	res, err := s.ask(r.Context(), &req)
	switch {
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "1")
		return refuse(http.StatusServiceUnavailable, schemas.SystemError, err.Error())
	case err != nil:
		s.cfg.Log.Warn("call without an answer", "instance", instance, "biz", req.BizType, "err", err)
		return refuse(http.StatusOK, schemas.SystemError, "outcome unknown, send it again with the same thirdMsgId: "+err.Error())
	}
	return http.StatusOK, res
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
