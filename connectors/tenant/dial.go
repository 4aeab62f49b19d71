package tenant

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Limits of calls to a tenant's backend.
const (
	// CallTimeout bounds a call from dial to last byte (decision D24).
	CallTimeout      = 3 * time.Second
	connsPerHostMax  = 64
	idlePerHostMax   = 8
	idleFor          = 30 * time.Second
	responseHeadMax  = 16 << 10 // bytes
	requestUserAgent = "tidemark"
)

// ErrAddress says that an address is not one to call.
var ErrAddress = errors.New("the address is not public: set allowPrivate if it is meant")

// never are networks that no tenant's backend lives in, allowed or not:
// unspecified, link-local with the clouds' metadata, multicast, reserved.
var never = prefixes("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "fe80::/10", "ff00::/8", "fd00:ec2::254/128", "100.100.100.200/32", "::/128")

// private are networks that are called only where that is allowed: loopback,
// private, shared (CGNAT), test, benchmark, and ways into IPv4.
var private = prefixes("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")

// publicIPv6 is all that is given out: what is outside of it (loopback,
// NAT64, unique local ...) is not public.
var publicIPv6 = netip.MustParsePrefix("2000::/3")

// embedded are networks whose last four bytes are an IPv4 address.
var embedded = prefixes("64:ff9b::/96", "::/96")

func prefixes(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func within(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// CheckAddress judges an address that is about to be dialled. One that is
// IPv4 in IPv6 is judged as that IPv4 address.
func CheckAddress(a netip.Addr, allowPrivate bool) error {
	a = a.Unmap().WithZone("")
	inner := a
	if a.Is6() && within(embedded, a) && a != netip.IPv6Loopback() {
		b := a.As16()
		inner = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case !a.IsValid() || within(never, a) || within(never, inner):
		return fmt.Errorf("dial %s: no tenant's backend is called there", a)
	case allowPrivate:
		return nil
	case within(private, a) || a.Is6() && !publicIPv6.Contains(a):
		return fmt.Errorf("dial %s: %w", a, ErrAddress)
	}
	return nil
}

// Caller makes calls to tenants' backends. It is safe for concurrent use.
type Caller struct {
	public, private *http.Client
}

// NewCaller makes one. roots are the certificate authorities; nil: the
// system's.
func NewCaller(roots *x509.CertPool) *Caller {
	return &Caller{public: client(roots, false), private: client(roots, true)}
}

// Close ends connections that are kept for the next call.
func (c *Caller) Close() {
	c.public.CloseIdleConnections()
	c.private.CloseIdleConnections()
}

func client(roots *x509.CertPool, allowPrivate bool) *http.Client {
	d := net.Dialer{Timeout: CallTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %s: %w", address, err)
		}
		return CheckAddress(at.Addr(), allowPrivate)
	}}
	return &http.Client{
		Timeout:       CallTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: CallTimeout, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxConnsPerHost: connsPerHostMax, MaxIdleConnsPerHost: idlePerHostMax, IdleConnTimeout: idleFor, MaxResponseHeaderBytes: responseHeadMax,
		},
	}
}

// statusError is an answer other than 200.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("HTTP status %d, 200 expected", int(s)) }

// do makes a call and reads at most limit bytes of its answer.
func (c *Caller) do(ctx context.Context, method, to string, body io.Reader, allowPrivate bool, limit int64) ([]byte, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !allowPrivate) {
		return nil, fmt.Errorf("call %s: scheme %q: use https, or set allowPrivate for http", u.Redacted(), u.Scheme)
	}
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	req.Header.Set("User-Agent", requestUserAgent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	by := c.public
	if allowPrivate {
		by = c.private
	}
	res, err := by.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, statusError(res.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read answer: over %d bytes", limit)
	}
	return b, nil
}
