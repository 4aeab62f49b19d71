package openloop

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestRequestsAreSentWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Clock{Began: time.Now().Add(time.Second), PerSecond: 4}
		var sent []time.Duration
		late, err := c.Run(t.Context(), 5, func(int) func() {
			return func() { sent = append(sent, time.Since(c.Began)) }
		})
		if err != nil || late != 0 || len(sent) != 5 {
			t.Fatalf("late %s, %v, sent %v", late, err, sent)
		}
		for i, at := range sent {
			if want := time.Duration(i) * 250 * time.Millisecond; at != want {
				t.Errorf("request %d was sent at %s, due at %s", i, at, want)
			}
		}
	})
}

func TestAStallMakesTheNextOnesLateAndMovesNoDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Clock{Began: time.Now(), PerSecond: 10}
		var last time.Time
		late, err := c.Run(t.Context(), 10, func(i int) func() {
			if i == 2 {
				time.Sleep(500 * time.Millisecond) // since 0.1 s
			}
			return func() { last = time.Now() }
		})
		if err != nil || late != 400*time.Millisecond || last.Sub(c.Began) != 900*time.Millisecond {
			t.Errorf("late %s, last sent after %s, %v", late, last.Sub(c.Began), err)
		}
	})
}

func TestTheContextEndsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := (Clock{time.Now(), 1}).Run(ctx, 10, func(int) func() { return func() {} }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
