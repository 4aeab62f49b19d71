package schemas

// HeaderTraceparent is the W3C trace context of a request or an oplog record:
// version, trace id, span id and flags, in hexadecimal. It stands in headers
// only: a record's value does not depend on it.
const HeaderTraceparent = "traceparent"

// Sampled reports whether a traceparent has its form and asks for the trace to
// be recorded.
func Sampled(traceparent string) bool {
	const form = "00-00000000000000000000000000000000-0000000000000000-01"
	if len(traceparent) != len(form) {
		return false
	}
	for i := range len(form) {
		c := traceparent[i]
		switch {
		case form[i] == '-' && c != '-':
			return false
		case form[i] != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	last := traceparent[len(form)-1]
	if last >= 'a' {
		last -= 'a' - '9' - 1 // so that the lowest bit is the digit's
	}
	return last&1 == 1
}
