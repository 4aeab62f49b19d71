package edge

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidemarkio/tidemark/schemas"
)

// Pauses double up to a limit that the wheel can see, and chance takes half of
// one at most.
func TestValidateRetry(t *testing.T) {
	for try, full := range map[int]int64{1: 2, 2: 4, 3: 8, 4: 16, 5: 32, 6: 60, 7: 60, 1000: 60} {
		if got := validateRetry(try, 0); got != full {
			t.Errorf("try %d: %d at most, want %d", try, got, full)
		}
		if got := validateRetry(try, 0.999999); got != full/2 {
			t.Errorf("try %d: %d at least, want %d", try, got, full/2)
		}
	}
	if validateRetryMax >= wheelSlots {
		t.Error("the wheel cannot see that far")
	}
}

// counted reads a counter.
func counted(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// tenantHouse is a house whose tenant answers as told.
type tenantHouse struct {
	*house
	clock  clock
	asked  atomic.Int64
	answer atomic.Pointer[error] // nil: valid
}

func newTenantHouse(t *testing.T) *tenantHouse {
	th := new(tenantHouse)
	th.house = newHouse(t, func(c *Config) {
		c.Now = th.clock.now
		c.ValidateSession = func(context.Context, Login) (bool, error) {
			th.asked.Add(1)
			if err := th.answer.Load(); err != nil {
				return false, *err
			}
			return true, nil
		}
	})
	th.configure(schemas.SyncConfig{BizType: "A", MultiDevice: true}, schemas.SyncConfig{BizType: "SAFE", MultiDevice: true, Consistency: true})
	return th
}

func (th *tenantHouse) says(err error) { th.answer.Store(&err) }

// verdicts waits until so many of the tenant's answers have been taken.
func (th *tenantHouse) verdicts(verdict string, n int) {
	th.t.Helper()
	eventually(th.t, "verdicts are given", func() error {
		if got := counted(th.t, th.server.metrics.validations.WithLabelValues(verdict)); int(got) < n {
			return fmt.Errorf("%v are %s, want %d", got, verdict, n)
		}
		return nil
	})
}

// later visits a device's session as the wheel would, after a time, and says when
// the tenant is asked again.
func (th *tenantHouse) later(device string, d time.Duration) (retryAt int64) {
	th.t.Helper()
	c := th.server.hub.find(deviceKey{instance, device})
	th.clock.forward(d)
	c.visit(th.clock.now().Unix())
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retryAt
}

// A tenant that does not answer is asked again, and the user gets what was held
// without connecting anew. The last time, the edge finds by itself that it is
// time.
func TestTenantThatWasDown(t *testing.T) {
	th := newTenantHouse(t)
	th.says(fmt.Errorf("%w: HTTP status 503", ErrLater))
	th.task.push(text("SAFE", "u1", "s"), text("A", "u1", "a"))
	s := th.dial("deviceId=d1 userId=u1 sessionId=good biz=SAFE,A")
	s.want(span("A", 0, 1, one(1, "a")))
	th.verdicts("error", 1)
	for n := 2; n < 10; n++ { // longer than any backoff
		th.later("d1", validateRetryMax*time.Second)
		th.verdicts("error", n)
	}
	th.answer.Store(nil)
	th.clock.forward(validateRetryMax * time.Second)
	s.want(span("SAFE", 0, 1, one(1, "s")))
	asked := th.asked.Load()
	if got := counted(t, th.server.metrics.retries); int64(got) != asked-1 || asked < 10 {
		t.Errorf("%v retries counted, asked %d times", got, asked)
	}
	th.later("d1", time.Hour)
	if n := th.asked.Load(); n != asked {
		t.Errorf("asked %d times after %d: a verdict was asked for again", n, asked)
	}
}

// The tenant's word is not asked for again, be it no or an answer that cannot
// be read.
func TestDefiniteNoIsNotAskedAgain(t *testing.T) {
	for _, err := range []error{errors.New("result.sid is not the session"), nil} {
		th := newTenantHouse(t)
		verdict := "error"
		if th.says(err); err == nil {
			verdict = "invalid"
		}
		th.dial("deviceId=d1 userId=u1 sessionId=bad biz=SAFE")
		th.verdicts(verdict, 1)
		for range 10 {
			th.later("d1", time.Hour)
		}
		if n := th.asked.Load(); n != 1 {
			t.Errorf("%v: asked %d times", err, n)
		}
	}
}

// Nobody is asked for a session on which nothing hangs: one that follows no
// consistent business, or has another login or none by now. What a change of the
// settings makes hang on it is asked for.
func TestAskedOnlyIfItMatters(t *testing.T) {
	th := newTenantHouse(t)
	th.says(ErrLater)
	th.dial("deviceId=d1 userId=u1 sessionId=s biz=A")
	th.verdicts("error", 1)
	for range 5 {
		if th.later("d1", validateRetryMax*time.Second) == 0 {
			t.Fatal("it has given up")
		}
	}
	if n := th.asked.Load(); n != 1 {
		t.Errorf("asked %d times for a business that does not look at it", n)
	}
	th.configure(schemas.SyncConfig{BizType: "A", MultiDevice: true, Consistency: true})
	eventually(t, "asked when it matters", func() error {
		th.later("d1", validateRetryMax*time.Second)
		if th.asked.Load() < 2 {
			return errors.New("not asked")
		}
		return nil
	})

	d := th.ws()
	d.say(helloOf("d2", "u2", schemas.Interest{BizType: "SAFE"}))
	d.next()
	c := th.server.hub.find(deviceKey{instance, "d2"})
	eventually(t, "a retry is planned", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.retryAt == 0 {
			return errors.New("none is")
		}
		return nil
	})
	d.say(schemas.Frame{Unbind: &schemas.Unbind{}})
	d.say(schemas.Frame{Ping: &schemas.Ping{}})
	d.next()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retryAt != 0 || c.retries != 0 {
		t.Error("a retry is planned for a user who has gone")
	}
}

// A retry that finds all places taken waits for its next pause, and holds no
// goroutine meanwhile.
func TestRetriesAreBounded(t *testing.T) {
	th := newTenantHouse(t)
	th.says(ErrLater)
	th.dial("deviceId=d1 userId=u1 sessionId=s biz=SAFE")
	th.verdicts("error", 1)
	room := th.server.validations(instance)
	for range validationsMax {
		room <- struct{}{}
	}
	before, asked := th.later("d1", 0), th.asked.Load()
	if after := th.later("d1", time.Hour); after <= before || th.asked.Load() != asked {
		t.Errorf("retry at %d after %d, asked %d times more", after, before, th.asked.Load()-asked)
	}
	for range validationsMax {
		<-room
	}
	th.later("d1", time.Hour)
	th.verdicts("error", int(asked)+1)
}
