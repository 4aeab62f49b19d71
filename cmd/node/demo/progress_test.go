package demo

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemarkio/tidemark/cmd/node/flights"
)

func TestWithoutATerminalALineSaysHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgress(&out, 100)
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			p.add()
		}
		p.end()
		want := strings.ReplaceAll(`playing DAY: 30 of 100 requests, about 7s left
playing DAY: 60 of 100 requests, about 4s left
playing DAY: 90 of 100 requests, about 1s left
played DAY: 100 of 100 requests in 10s
`, "DAY", flights.Date)
		if out.String() != want {
			t.Errorf("got:\n%swant:\n%s", &out, want)
		}
	})
}
