package ingress

import (
	"net/http"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

const far = "192.0.2.1:1234"

// open is a call of an instance without keys.
func open(header ...string) *http.Request {
	r := call("/webapi/sync/single?instanceId=open_APP1", goodBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// TestOpenInstances: an instance without keys is open to this machine only, or
// where the operator says so.
func TestOpenInstances(t *testing.T) {
	d := newDoor(t)
	named := func(host string) *http.Request {
		r := open()
		r.Host = host
		return r
	}
	for what, r := range map[string]*http.Request{
		"127.0.0.1": open(), "127.9.9.9": from("127.9.9.9:1", open()), "::1": from("[::1]:1", open()), "::ffff:127.0.0.1": from("[::ffff:127.0.0.1]:1", open()),
		"localhost": named("localhost:8080"), "[::1]": named("[::1]:8080"), "all of this machine": named("[::]:8080"), "without a port": named("localhost"),
	} {
		d.accepted(what, r)
	}
	for what, r := range map[string]*http.Request{
		"another machine": from(far, open()), "another machine, IPv6": from("[2001:db8::1]:1", open()), "its own network": from("10.0.0.1:1", open()),
		"no address": from("@", open()), "nothing": from("", open()),
		"who says that it is here":    from(far, open("X-Forwarded-For", "127.0.0.1")),
		"a proxy":                     open("X-Forwarded-For", "192.0.2.1"),
		"a proxy for itself":          open("X-Forwarded-For", "127.0.0.1"),
		"a proxy that says little":    open("X-Forwarded-For", ""),
		"a proxy, by RFC 7239":        open("Forwarded", "for=192.0.2.1"),
		"nginx":                       open("X-Real-Ip", "192.0.2.1"),
		"a name that resolves to us":  named("evil.example:8080"),
		"a name that begins like us":  named("127.0.0.1.evil.example"),
		"an address that is not here": named("192.0.2.1:8080"),
	} {
		d.refused(what, r, errNoKey)
	}
	keyed := keyed()
	d.accepted("a key opens from anywhere", from(far, keyed))

	trusting := newDoor(t)
	trusting.server.cfg.Authorize = NewDoorman(DoormanConfig{Model: func() *registry.Model { return trusting.model }, Open: true}).Authorize
	trusting.accepted("another machine, in a trusted network", from(far, open()))
	trusting.refused("an instance with keys stays closed there", from(far, call(uri, goodBody)), errNoKey)
}

// TestFromFarAllInstancesLookTheSame: with keys, without, and none at all.
func TestFromFarAllInstancesLookTheSame(t *testing.T) {
	d := newDoor(t)
	for _, header := range [][]string{
		nil, {"Authorization", "Bearer x"}, {"Authorization", "Basic x"}, {HeaderSignature, "v1=x"},
		{HeaderSignature, "v1=0000000000000000000000000000000000000000000000000000000000000000", HeaderTimestamp, "1700000000000", HeaderKey, "k"},
	} {
		answers := make(map[string]string)
		for _, instance := range []string{demo, "open_APP1", "nobody", ""} {
			r := from(far, call("/webapi/sync/single?instanceId="+instance, goodBody))
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			w := d.do(r)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%q with %v: %d", instance, header, w.Code)
			}
			answers[w.Body.String()+w.Header().Get(HeaderReason)] = instance
		}
		if len(answers) != 1 {
			t.Errorf("with %v instances can be told apart: %v", header, answers)
		}
	}
	if n := d.requests(); n != 0 {
		t.Errorf("%d requests were written", n)
	}
}

// TestExpiredKeysDoNotOpen: an instance whose keys have all expired is not one
// without keys.
func TestExpiredKeysDoNotOpen(t *testing.T) {
	d := newDoor(t)
	d.apply(registry.AddKey{InstanceID: demo, For: registry.APIKey, Key: d.model.NewKey(registry.APIKey, "ak-brief-0123456789", ""), Retire: d.now.Add(time.Minute).UnixMilli()})
	d.apply(registry.DeleteKey{InstanceID: demo, For: registry.APIKey, ID: d.id("ak-brief-0123456789")})
	d.accepted("within the overlap", keyed())
	revoked := call(uri, goodBody)
	revoked.Header.Set("Authorization", "Bearer ak-brief-0123456789")
	d.refused("the revoked key", revoked, errWrongKey)
	d.now = d.now.Add(time.Minute)
	d.refused("the expired key", keyed(), errWrongKey)
	d.refused("none", call(uri, goodBody), errNoKey)
	d.refused("signed with the expired key", d.signed(uri, goodBody, demoKey, d.now), errBadSign)
}
