package ingress

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// inWindow is what the doorman asks before.
func inWindow(at, now time.Time) bool {
	return !at.Before(now.Add(-SignatureWindow)) && !at.After(now.Add(SignatureWindow))
}

// TestNoJumpOfTheClockForgetsASignature: whatever the clock does, what was
// taken is never taken again.
func TestNoJumpOfTheClockForgetsASignature(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	for what, jumps := range map[string][]time.Duration{
		"forth and back":           {0, time.Hour, -time.Hour},
		"forth a little and back":  {0, SignatureWindow + time.Minute, -SignatureWindow - time.Minute},
		"back and forth":           {0, -time.Hour, time.Hour},
		"forth, back, further on":  {0, 24 * time.Hour, -24 * time.Hour, time.Minute, 24 * time.Hour, -24 * time.Hour},
		"back again and again":     {0, 7 * time.Minute, -3 * time.Minute, 7 * time.Minute, -11 * time.Minute, 2 * time.Minute},
		"before 1970":              {-60 * 365 * 24 * time.Hour, time.Hour, -time.Hour},
		"a walk":                   {0, 61 * time.Second, 61 * time.Second, 4 * time.Minute, 61 * time.Second, -9 * time.Minute},
		"to the end of the window": {0, 2 * SignatureWindow, -SignatureWindow},
	} {
		r, now := newReplays(1000), start
		sent := make(map[[16]byte]time.Time)
		for step, jump := range jumps {
			now = now.Add(jump)
			for _, ahead := range []time.Duration{-SignatureWindow, 0, SignatureWindow} {
				sig := [16]byte{byte(step), byte(ahead / time.Minute)}
				if r.add(sig, now.Add(ahead), now) == nil {
					sent[sig] = now.Add(ahead)
				}
			}
			for sig, at := range sent {
				if inWindow(at, now) && r.add(sig, at, now) == nil {
					t.Errorf("%s, step %d: at %s what was signed at %s passes again", what, step, now, at)
				}
			}
		}
	}
}

// TestRandomClocksForgetNothing compares with a memory that keeps everything.
func TestRandomClocksForgetNothing(t *testing.T) {
	for seed := range uint64(50) {
		chance := rand.New(rand.NewPCG(seed, 1))
		r, now := newReplays(40), time.UnixMilli(1_700_000_000_000)
		taken := make(map[[16]byte]time.Time)
		for n := range uint64(400) {
			now = now.Add(time.Duration(chance.Int64N(int64(8*time.Minute))) - 3*time.Minute)
			var sig [16]byte
			binary.BigEndian.PutUint64(sig[:], n)
			at := now.Add(time.Duration(chance.Int64N(int64(2*SignatureWindow))) - SignatureWindow)
			if r.add(sig, at, now) == nil {
				taken[sig] = at
			}
			for sig, at := range taken {
				if inWindow(at, now) && r.add(sig, at, now) == nil {
					t.Fatalf("seed %d, call %d: a signature passes again", seed, n)
				}
			}
			if r.len() > 40 {
				t.Fatalf("seed %d: %d are remembered, past the limit", seed, r.len())
			}
		}
		if len(taken) < 20 {
			t.Errorf("seed %d: only %d calls were taken at all", seed, len(taken))
		}
	}
}

// TestAClockThatWasWrongDoesNotShutTheDoor for longer than the window.
func TestAClockThatWasWrongDoesNotShutTheDoor(t *testing.T) {
	r, now := newReplays(10), time.UnixMilli(1_700_000_000_000)
	add := func(n byte, at, now time.Time) error { return r.add([16]byte{n}, at, now) }
	if err := add(1, now, now); err != nil {
		t.Fatal(err)
	}
	wrong := now.Add(24 * time.Hour)
	if err := add(2, wrong, wrong); err != nil { // and the first is forgotten
		t.Fatal(err)
	}
	if err := add(1, now, now); !errors.Is(err, errTime) {
		t.Errorf("what was forgotten: %v", err)
	}
	if err := add(3, now.Add(time.Minute), now.Add(time.Minute)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func BenchmarkReplays(b *testing.B) {
	r, now := newReplays(1<<30), time.UnixMilli(1_700_000_000_000)
	var next atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		chance := rand.New(rand.NewPCG(next.Add(1), 0))
		for pb.Next() {
			var sig [16]byte
			binary.BigEndian.PutUint64(sig[:], chance.Uint64())
			binary.BigEndian.PutUint64(sig[8:], chance.Uint64())
			if err := r.add(sig, now, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSignature is all that a signed call costs the doorman.
func BenchmarkSignature(b *testing.B) {
	key := [32]byte{1}
	body := make([]byte, 300)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			signWith((*registry.Hash)(&key), Canonical("POST", uri, "1700000000000", "k", body))
		}
	})
}
