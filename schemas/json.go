package schemas

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/segmentio/encoding/json"
)

// MaxJSONDepth bounds the nesting of JSON at every door. The decoder behind it
// recurses without a limit of its own, and Go cannot recover from a stack that
// has run out.
const MaxJSONDepth = 32

// ErrJSONSyntax says that a text is not JSON at all (an HTTP door answers 400),
// as against JSON of the wrong shape.
var ErrJSONSyntax = errors.New("not valid JSON")

// jsonRequest is a request's JSON form; null counts as absent.
type jsonRequest struct {
	InstanceID    string `json:"instanceId"`
	BizType       string `json:"bizType"`
	LinkToken     string `json:"linkToken"`
	ThirdMsgID    string `json:"thirdMsgId"`
	Payload       string `json:"payload"`
	BinaryPayload string `json:"binaryPayload"`
	OSType        string `json:"osType"`
	AppMinVersion string `json:"appMinVersion"`
	AppMaxVersion string `json:"appMaxVersion"`
	ValidTimeEnd  int64  `json:"validTimeEnd"`
	Scope         string `json:"scope"`
}

// DecodeJSON reads a request in its JSON form. Unknown fields are ignored, the
// last of repeated names counts. A syntax error wraps [ErrJSONSyntax]; other
// errors name the field. binaryPayload that is not base64 is kept in r.Base64
// for [Request.Validate] to report.
func (r *Request) DecodeJSON(b []byte) error {
	*r = Request{}
	if err := CheckJSON(b); err != nil {
		return fmt.Errorf("decode request: %w", err)
	}
	var j jsonRequest
	if _, err := json.Parse(b, &j, json.DontMatchCaseInsensitiveStructFields); err != nil {
		return fmt.Errorf("decode request: %w", explainJSON(b, err))
	}
	*r = Request{
		InstanceID: j.InstanceID, BizType: j.BizType, LinkToken: j.LinkToken, ThirdMsgID: j.ThirdMsgID,
		Payload: j.Payload, OSType: j.OSType, AppMinVersion: j.AppMinVersion, AppMaxVersion: j.AppMaxVersion,
		ValidTimeEnd: j.ValidTimeEnd, Scope: j.Scope,
	}
	if j.BinaryPayload != "" {
		raw, err := base64.StdEncoding.Strict().DecodeString(j.BinaryPayload)
		// The library passes over line breaks, the standard form has none.
		if err != nil || base64.StdEncoding.EncodedLen(len(raw)) != len(j.BinaryPayload) {
			r.Base64 = j.BinaryPayload
		} else {
			r.Binary = raw
		}
	}
	return nil
}

// explainJSON turns the decoder's complaint about well-formed JSON into one
// that names the field.
func explainJSON(b []byte, err error) error {
	var fields map[string]json.RawMessage
	if _, e := json.Parse(b, &fields, 0); e != nil || fields == nil {
		return errors.New("the body must be a JSON object")
	}
	var s string
	for _, name := range []string{
		"instanceId", "bizType", "linkToken", "thirdMsgId", "payload", "binaryPayload",
		"osType", "appMinVersion", "appMaxVersion", "scope",
	} {
		if raw, ok := fields[name]; ok && json.Unmarshal(raw, &s) != nil {
			return fmt.Errorf("field %s must be a string", name)
		}
	}
	var n int64
	if raw, ok := fields["validTimeEnd"]; ok && json.Unmarshal(raw, &n) != nil {
		return errors.New("field validTimeEnd must be a whole number of milliseconds")
	}
	return err
}

// CheckJSON guards a JSON decoder: valid UTF-8, nesting within
// [MaxJSONDepth], no escaped half of a surrogate pair (decoders would replace
// it in silence), valid syntax throughout. Syntax errors wrap [ErrJSONSyntax].
func CheckJSON(b []byte) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: not UTF-8", ErrJSONSyntax)
	}
	surrogate, err := scanJSON(b)
	if err != nil {
		return err
	}
	if !json.Valid(b) {
		return fmt.Errorf("%w", ErrJSONSyntax)
	}
	return surrogate
}

// scanJSON looks at what a decoder does not: err is a syntax error, surrogate
// the complaint about a text that is JSON for the rest.
func scanJSON(b []byte) (surrogate, err error) {
	var (
		depth    int
		inString bool
	)
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case inString && c == '"':
			inString = false
		case inString && c == '\\':
			n, err := scanEscape(b[i:])
			if err != nil && surrogate == nil {
				surrogate = err
			}
			i += n - 1
		case inString && c < 0x20:
			return nil, fmt.Errorf("%w: control character in a string at byte %d", ErrJSONSyntax, i)
		case inString:
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > MaxJSONDepth {
				return nil, fmt.Errorf("%w: nested deeper than %d", ErrJSONSyntax, MaxJSONDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if depth != 0 || inString {
		return nil, fmt.Errorf("%w: it ends early", ErrJSONSyntax)
	}
	return surrogate, nil
}

// scanEscape measures the escape sequence that b starts with, both halves of a
// surrogate pair together.
func scanEscape(b []byte) (n int, err error) {
	hi, ok := unit(b)
	switch {
	case !ok:
		return 2, nil
	case hi < 0xD800 || hi > 0xDFFF:
		return 6, nil
	case hi < 0xDC00:
		if lo, ok := unit(b[6:]); ok && lo >= 0xDC00 && lo <= 0xDFFF {
			return 12, nil
		}
	}
	return 6, errors.New(`a string holds half of a surrogate pair: send \ud800-\udfff escapes in pairs, or plain UTF-8`)
}

// unit reads a \uXXXX escape.
func unit(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return v, err == nil
}
