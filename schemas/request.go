package schemas

import (
	"fmt"
	"strings"
)

// Scopes of a request and of a business.
const (
	ScopeSpecified = "specified" // one user or device; also what "" means
	ScopeGlobal    = "global"    // everybody
)

// Limits of a request. Lengths are Unicode code points.
const (
	MaxInstanceID = 100
	MaxBizType    = 30
	MaxLinkToken  = 100
	MaxThirdMsgID = 100
	MaxPayload    = 4096
	MaxBinary     = 4096 // characters of base64
	MaxOSType     = 10
	MaxVersion    = 20
	MaxValidTime  = 9_999_999_999_999 // 13 digits
	MaxRequestID  = 64                // bytes

	// MaxRequestBytes bounds an encoded request on the requests topic and the
	// body of an HTTP call: the sum of the limits above, escaped at the worst
	// (six bytes a character, twelve outside the basic plane), with room to spare.
	MaxRequestBytes = 256 << 10
)

// Request asks for one oplog entry.
type Request struct {
	InstanceID    string
	BizType       string
	LinkToken     string // empty when global
	ThirdMsgID    string
	Payload       string
	Binary        []byte // raw; this or Payload
	OSType        string
	AppMinVersion string
	AppMaxVersion string
	ValidTimeEnd  int64  // epoch milliseconds, 0 if absent
	Scope         string // "", ScopeSpecified or ScopeGlobal

	// Base64 holds binaryPayload as it came when it was not base64 (JSON
	// only), so that [Request.Validate] can report that in its turn.
	Base64 string
}

// Global reports whether the request is for everybody.
func (r *Request) Global() bool { return r.Scope == ScopeGlobal }

// Key is the request's record key: the link token, or instance/business for
// global ones. It decides the partition.
func (r *Request) Key() string {
	if r.Global() {
		return r.InstanceID + "/" + r.BizType
	}
	return r.LinkToken
}

// AppendProto appends the request as a SyncRequest message.
func (r *Request) AppendProto(b []byte) []byte {
	b = appendString(b, 1, r.InstanceID)
	b = appendString(b, 2, r.BizType)
	b = appendString(b, 3, r.LinkToken)
	b = appendString(b, 4, r.ThirdMsgID)
	b = appendString(b, 5, r.Payload)
	b = appendBytes(b, 6, r.Binary)
	b = appendString(b, 7, r.OSType)
	b = appendString(b, 8, r.AppMinVersion)
	b = appendString(b, 9, r.AppMaxVersion)
	b = appendInt(b, 10, r.ValidTimeEnd)
	return appendString(b, 11, r.Scope)
}

// DecodeProto reads a SyncRequest message. Strings alias b.
func (r *Request) DecodeProto(b []byte) error {
	*r = Request{}
	err := eachField(b, r.set)
	if err != nil {
		return fmt.Errorf("decode SyncRequest: %w", err)
	}
	return nil
}

func (r *Request) set(f field) error {
	switch f.num {
	case 1:
		return f.text("instance_id", &r.InstanceID)
	case 2:
		return f.text("biz_type", &r.BizType)
	case 3:
		return f.text("link_token", &r.LinkToken)
	case 4:
		return f.text("third_msg_id", &r.ThirdMsgID)
	case 5:
		return f.text("payload", &r.Payload)
	case 6:
		return f.bytes("binary_payload", &r.Binary)
	case 7:
		return f.text("os_type", &r.OSType)
	case 8:
		return f.text("app_min_version", &r.AppMinVersion)
	case 9:
		return f.text("app_max_version", &r.AppMaxVersion)
	case 10:
		return f.int("valid_time_end", &r.ValidTimeEnd)
	case 11:
		return f.text("scope", &r.Scope)
	}
	return nil
}

// Decode reads a request in the form that its content type names, or, without
// one, in the form that it looks like.
func (r *Request) Decode(contentType string, value []byte) error {
	if len(value) > MaxRequestBytes {
		return fmt.Errorf("request of %d bytes: over the limit of %d", len(value), MaxRequestBytes)
	}
	switch mediaType(contentType) {
	case ContentProtobuf:
		return r.DecodeProto(value)
	case ContentJSON:
		return r.DecodeJSON(value)
	case "":
		if len(value) > 0 && value[0] == '{' {
			return r.DecodeJSON(value)
		}
		return r.DecodeProto(value)
	}
	return fmt.Errorf("content-type %.60q: use %s or %s", contentType, ContentProtobuf, ContentJSON)
}

// mediaType leaves out parameters, as in "application/json; charset=utf-8",
// and the case, neither of which says anything here.
func mediaType(contentType string) string {
	if contentType == "" || contentType == ContentProtobuf || contentType == ContentJSON {
		return contentType
	}
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}
