package ingress

import (
	"fmt"
	"net/http"

	"github.com/tidemarkio/tidemark/schemas"
)

// refusal is why a call never became a request, and how it is answered. None
// says whether an instance or a key exists to a caller who has no key.
type refusal struct {
	label  string // of tidemark_ingress_refused_total
	status int
	code   schemas.Code
	text   string
	retry  int  // seconds: Retry-After; 0: not said
	close  bool // end the connection, and do not read what is left of a body
}

func (r *refusal) Error() string { return r.text }

// with says more of what was wrong.
func (r *refusal) with(err error) *refusal {
	more := *r
	more.text = err.Error()
	return &more
}

// At the door, before anything is read.
var (
	errNoSuchCall = &refusal{label: "path", status: http.StatusNotFound, code: schemas.ArgsInvalid,
		text: "there is no such call: POST " + pathSingle + " or " + pathGlobal}
	errMethod = &refusal{label: "method", status: http.StatusMethodNotAllowed, code: schemas.ArgsInvalid, text: "use POST"}
	errSite   = &refusal{label: "cross_site", status: http.StatusForbidden, code: schemas.NotAuthorized,
		text: "a page of another site may not push with its visitor's browser: call from a backend"}
	errQuery = &refusal{label: "query", status: http.StatusBadRequest, code: schemas.ArgsInvalid,
		text: "the query cannot be read, or it has instanceId more than once"}
	errBusy = &refusal{label: "busy", status: http.StatusServiceUnavailable, code: schemas.SystemError, retry: 1, close: true,
		text: "too many calls are under way: nothing was written, send it again"}
)

// By who calls.
var (
	errNoKey = unauthorized("no_key",
		"an API key is needed, as Authorization: Bearer <API key>: an operator makes one with: tidemark key create <instance>")
	errWrongKey = unauthorized("wrong_key", "the API key is not one of this instance, or has expired")
	errUnsigned = unauthorized("unsigned", "calls must be signed: send %s, %s and %s", HeaderKey, HeaderTimestamp, HeaderSignature)
	errTime     = unauthorized("time", "%s: epoch milliseconds, at most %s from the server's time", HeaderTimestamp, SignatureWindow)
	errBadSign  = unauthorized("signature", "%s is not that of this call by this key", HeaderSignature)
	errReplayed = unauthorized("replayed", "this signature was used before: sign each call anew, with its own %s", HeaderTimestamp)
	// errOther is for an [Authorize] with errors of its own.
	errOther = unauthorized("other", "not authorized")

	errReplaysFull = &refusal{label: "signatures_full", status: http.StatusServiceUnavailable, code: schemas.SystemError, retry: 60,
		text: "too many signed calls in ten minutes to remember them all: try again later, or raise --signatures-max"}
)

// By the body.
var (
	errTooLarge = &refusal{label: "too_large", status: http.StatusRequestEntityTooLarge, code: schemas.ArgsInvalid, close: true,
		text: fmt.Sprintf("the body is over %d bytes", schemas.MaxRequestBytes)}
	errSlow   = &refusal{label: "slow", status: http.StatusRequestTimeout, code: schemas.ArgsInvalid, close: true, text: "the body did not arrive in time"}
	errBroken = &refusal{label: "body", status: http.StatusBadRequest, code: schemas.ArgsInvalid, close: true, text: "the body did not arrive whole"}
	errSyntax = &refusal{label: "json", status: http.StatusBadRequest, code: schemas.ArgsInvalid, text: "the body is no JSON"}
)

func unauthorized(label, format string, args ...any) *refusal {
	return &refusal{label: label, status: http.StatusUnauthorized, code: schemas.NotAuthorized, text: fmt.Sprintf(format, args...)}
}

// refusals are all there are.
var refusals = []*refusal{
	errNoSuchCall, errMethod, errSite, errQuery, errBusy,
	errNoKey, errWrongKey, errUnsigned, errTime, errBadSign, errReplayed, errOther, errReplaysFull,
	errTooLarge, errSlow, errBroken, errSyntax,
}
