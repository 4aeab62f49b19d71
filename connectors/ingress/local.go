package ingress

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// spokenFor are headers by which a proxy says that it calls for somebody else.
var spokenFor = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// local reports whether a call comes from this machine, for a caller of this
// machine. The name that it calls must be one of this machine too: a page whose
// name resolves to 127.0.0.1 is no other site to a browser.
func local(r *http.Request) bool {
	for _, h := range spokenFor {
		if _, said := r.Header[h]; said {
			return false
		}
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() && localName(r.Host)
}

// localName: loopback, or the address of "all of this machine".
func localName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && (a.Unmap().IsLoopback() || a.IsUnspecified())
}
