package schemas

import "strings"

// Filter is what an entry asks of a client.
type Filter struct {
	OSType        string // empty: any
	AppMinVersion string // inclusive; empty: open
	AppMaxVersion string // inclusive; empty: open
}

// Filter gives the entry's filter.
func (e *Entry) Filter() Filter { return Filter{e.OSType, e.AppMinVersion, e.AppMaxVersion} }

// Admits reports whether a client with that system and version gets the entry.
// A client that does not say, or whose version is not numeric, gets only what
// is not restricted in that respect (S003-77 to S003-83).
func (f Filter) Admits(os, version string) bool {
	if f.OSType != "" && !strings.EqualFold(f.OSType, os) {
		return false
	}
	if f.AppMinVersion == "" && f.AppMaxVersion == "" {
		return true
	}
	if version == "" || !ValidVersion(version) {
		return false
	}
	return (f.AppMinVersion == "" || CompareVersions(version, f.AppMinVersion) >= 0) &&
		(f.AppMaxVersion == "" || CompareVersions(version, f.AppMaxVersion) <= 0)
}
