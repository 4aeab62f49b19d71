package schemas

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Validate checks all of a request that can be checked without settings, in
// the fixed order of spec D4: bizType, linkToken, payload, thirdMsgId present;
// lengths; other formats. The first fault is returned, or the zero Fault.
//
// What stands before it in that order (the instance) and after it (config
// online, scope, dedupe) needs settings: see registry.Settings.Admit.
func (r *Request) Validate() Fault {
	if f := r.checkPresence(); !f.None() {
		return f
	}
	if f := r.checkLengths(); !f.None() {
		return f
	}
	return r.checkFormats()
}

func (r *Request) checkPresence() Fault {
	switch {
	case r.BizType == "":
		return Fault{ArgsIsNull, "bizType is missing"}
	case r.LinkToken == "" && !r.Global():
		return Fault{ArgsIsNull, "linkToken is missing"}
	case r.Payload == "" && len(r.Binary) == 0 && r.Base64 == "":
		return Fault{ArgsIsNull, "payload and binaryPayload are both missing: give one"}
	case r.ThirdMsgID == "":
		return Fault{ThirdMsgIDIsNull, "thirdMsgId is missing"}
	}
	return Fault{}
}

func (r *Request) checkLengths() Fault {
	binary := base64.StdEncoding.EncodedLen(len(r.Binary))
	if r.Base64 != "" {
		binary = utf8.RuneCountInString(r.Base64)
	}
	switch {
	case over(r.InstanceID, MaxInstanceID):
		return tooLong("instanceId", MaxInstanceID)
	case over(r.BizType, MaxBizType):
		return tooLong("bizType", MaxBizType)
	case over(r.LinkToken, MaxLinkToken):
		return tooLong("linkToken", MaxLinkToken)
	case over(r.Payload, MaxPayload):
		return Fault{PayloadLong, fmt.Sprintf("payload is over %d characters", MaxPayload)}
	case binary > MaxBinary:
		return Fault{PayloadLong, fmt.Sprintf("binaryPayload is over %d characters of base64", MaxBinary)}
	case over(r.ThirdMsgID, MaxThirdMsgID):
		return Fault{ThirdMsgIDLong, fmt.Sprintf("thirdMsgId is over %d characters", MaxThirdMsgID)}
	case over(r.OSType, MaxOSType):
		return tooLong("osType", MaxOSType)
	case over(r.AppMinVersion, MaxVersion):
		return tooLong("appMinVersion", MaxVersion)
	case over(r.AppMaxVersion, MaxVersion):
		return tooLong("appMaxVersion", MaxVersion)
	}
	return Fault{}
}

func (r *Request) checkFormats() Fault {
	if r.Payload != "" && (len(r.Binary) > 0 || r.Base64 != "") {
		return Fault{ArgsInvalid, "payload and binaryPayload are both set: give one"}
	}
	if r.Base64 != "" {
		return Fault{ArgsInvalid, "binaryPayload is not base64 (standard alphabet, padded, no line breaks)"}
	}
	if r.Scope != "" && r.Scope != ScopeSpecified && r.Scope != ScopeGlobal {
		return Fault{ArgsInvalid, fmt.Sprintf("scope %q: use specified or global", r.Scope)}
	}
	if r.OSType != "" && !isOS(r.OSType, "ios") && !isOS(r.OSType, "android") {
		return Fault{ArgsInvalid, fmt.Sprintf("osType %q: use iOS or Android, or leave it out for both", r.OSType)}
	}
	if r.ValidTimeEnd < 0 || r.ValidTimeEnd > MaxValidTime {
		return Fault{ArgsInvalid, "validTimeEnd: epoch milliseconds, up to 13 digits"}
	}
	return r.checkVersions()
}

func (r *Request) checkVersions() Fault {
	if !ValidVersion(r.AppMinVersion) {
		return Fault{ArgsInvalid, fmt.Sprintf("appMinVersion %q: numbers between dots, such as 8.6.0.9999", r.AppMinVersion)}
	}
	if !ValidVersion(r.AppMaxVersion) {
		return Fault{ArgsInvalid, fmt.Sprintf("appMaxVersion %q: numbers between dots, such as 9.0.0.9999", r.AppMaxVersion)}
	}
	if r.AppMinVersion != "" && r.AppMaxVersion != "" && CompareVersions(r.AppMinVersion, r.AppMaxVersion) > 0 {
		return Fault{ArgsInvalid, fmt.Sprintf("appMinVersion %s is above appMaxVersion %s", r.AppMinVersion, r.AppMaxVersion)}
	}
	return Fault{}
}

// isOS compares without case. Of equal length, so that no letter counts that
// merely folds to one of ASCII.
func isOS(s, name string) bool { return len(s) == len(name) && strings.EqualFold(s, name) }

func tooLong(field string, limit int) Fault {
	return Fault{ArgsInvalid, fmt.Sprintf("%s is over %d characters", field, limit)}
}

// over reports whether s has more than limit code points; it counts only when
// the bytes leave a doubt.
func over(s string, limit int) bool {
	return len(s) > limit && utf8.RuneCountInString(s) > limit
}
