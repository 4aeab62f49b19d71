package guard

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/cmd/node/embedded/internal/anyreq"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leave lists what the table does not allow for: only brokers send it.
var leave = map[string]bool{"FetchRequest.ClusterID": true, "FetchRequest.ReplicaState": true}

// TestShapesMatchTheProtocol holds the table against a library's encoders: any
// request, in every version, is walked to its last byte.
func TestShapesMatchTheProtocol(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range shapes {
		s := &shapes[i]
		for version := s.min; version <= s.max; version++ {
			for range 100 {
				req := anyreq.Make(r, s.key, version, anyreq.Pool{Leave: leave})
				if name := kmsg.NameForKey(s.key); name != s.name {
					t.Fatalf("key %d is %s, not %s", s.key, name, s.name)
				}
				if want := s.flexible >= 0 && version >= s.flexible; req.IsFlexible() != want {
					t.Fatalf("%s version %d: flexible is %v", s.name, version, req.IsFlexible())
				}
				body := req.AppendTo(nil)
				if _, err := s.walk(body, version, nil); err != nil {
					t.Fatalf("%s version %d: %v\n%+v", s.name, version, err, req)
				}
				if len(body) > 0 {
					if _, err := s.walk(body[:len(body)-1], version, nil); err == nil {
						t.Fatalf("%s version %d: a body cut short passed\n%+v", s.name, version, req)
					}
				}
				if _, err := s.walk(append(body, 0), version, nil); err == nil {
					t.Fatalf("%s version %d: a body with a byte too many passed", s.name, version)
				}
			}
		}
	}
}

// TestWalkAgreesWithTheDecoder: what the walk lets through, the decoder reads
// to the same end, whatever the bytes.
func FuzzWalk(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range shapes {
		for _, version := range []int16{shapes[i].min, shapes[i].max} {
			req := anyreq.Make(r, shapes[i].key, version, anyreq.Pool{Leave: leave})
			f.Add(shapes[i].key, version, req.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		s := lookup(key)
		if s == nil || version < s.min || version > s.max {
			return
		}
		if _, err := s.walk(body, version, nil); err != nil {
			return
		}
		// Bounded: no tag or array count here can make it loop or allocate.
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		_ = req.ReadFrom(body)
	})
}

func TestNotesMarkTheRightFields(t *testing.T) {
	req := kmsg.NewFetchRequest()
	for version := int16(4); version <= 18; version++ {
		req.Version = version
		req.MaxBytes, req.SessionID, req.SessionEpoch = 0x01020304, 0x05060708, 0x090a0b0c
		body := req.AppendTo(nil)
		places, err := lookup(keyFetch).walk(body, version, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range places {
			got = append(got, string(body[p.start:p.end]))
		}
		want := "\x01\x02\x03\x04"
		if version >= 7 {
			want += "|\x05\x06\x07\x08"
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("version %d: noted %q, want %q", version, s, want)
		}
	}
}

func TestVersionsNameOnlyWhatIsWalked(t *testing.T) {
	v := Versions()
	for key := range int16(maxKey) {
		version, ok := v.LookupMaxKeyVersion(key)
		s := lookup(key)
		if ok != (s != nil) || ok && version > s.max {
			t.Errorf("key %d: advertised %v up to %d", key, ok, version)
		}
	}
}
