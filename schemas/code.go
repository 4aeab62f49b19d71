package schemas

// Code is the outcome of a request, as callers see it in "msg".
type Code string

// The result codes of spec 1.3.3, and two that the source lacks: [ArgsInvalid]
// and [NotAuthorized].
const (
	Success          Code = "SUCCESS"
	DuplicatedBizID  Code = "DUPLICATED_BIZ_ID"
	NotOnline        Code = "NOT_ONLINE"
	ThirdMsgIDIsNull Code = "THIRDMSGID_IS_NULL"
	BizNotOnline     Code = "BIZ_NOT_ONLINE"
	ArgsIsNull       Code = "ARGS_IS_NULL"
	NotSupportGlobal Code = "NOT_SUPPORT_GLOBAL"
	PayloadLong      Code = "PAYLOAD_LONG"
	ThirdMsgIDLong   Code = "THIRD_MSG_ID_LONG"
	SystemError      Code = "SYSTEM_ERROR"
	ArgsInvalid      Code = "ARGS_INVALID"
	NotAuthorized    Code = "NOT_AUTHORIZED"
)

// CodeInfo says what a code means to a caller.
type CodeInfo struct {
	Code    Code
	Success bool   // the caller need not send it again
	Meaning string // one line, for documentation and error pages
}

// Codes lists every result code, in the order of the documentation.
var Codes = []CodeInfo{
	{Success, true, "accepted; a live, eligible session is there (global: accepted and stored)"},
	{DuplicatedBizID, true, "this thirdMsgId was accepted before; the new data is dropped, the first stays"},
	{NotOnline, true, "accepted; the target is offline (persistent: stored for later; else dropped)"},
	{ThirdMsgIDIsNull, false, "thirdMsgId is missing or empty"},
	{BizNotOnline, false, "no such instance or business, or the business is offline"},
	{ArgsIsNull, false, "a required field is missing or empty"},
	{NotSupportGlobal, false, "the business has the other scope (single against global)"},
	{PayloadLong, false, "payload or binaryPayload is over its limit"},
	{ThirdMsgIDLong, false, "thirdMsgId is over 100 characters"},
	{SystemError, false, "outcome unknown: send it again with the same thirdMsgId"},
	{ArgsInvalid, false, "a field has the wrong type, form or length"},
	{NotAuthorized, false, "the API key or the signature is missing or wrong, or the signature is stale or was used before (HTTP status 401), or a page of another site calls (403)"},
}

// OK reports whether the code counts as success ("success": true).
func (c Code) OK() bool { return c == Success || c == DuplicatedBizID || c == NotOnline }

// Fault is why a request was refused. The zero Fault means: nothing wrong.
type Fault struct {
	Code   Code
	Reason string // names the field and the rule, for people
}

// Error makes a Fault usable as an error.
func (f Fault) Error() string { return string(f.Code) + ": " + f.Reason }

// None reports that there is no fault.
func (f Fault) None() bool { return f.Code == "" }
