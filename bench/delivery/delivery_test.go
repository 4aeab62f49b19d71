package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/bench/report"
)

// pushed is an event as a stream carries it.
func pushed(biz string, from, to int64, messages ...string) string {
	var ops []string
	for n, m := range messages {
		ops = append(ops, fmt.Sprintf(`{"id":%d,"thirdMsgId":%q,"pl":"x"}`, from+int64(n)+1, m))
	}
	return fmt.Sprintf("id: c\nevent: sync\ndata: {\"bizType\":%q,\"from\":%d,\"to\":%d,\"op\":[%s]}\n\n", biz, from, to, strings.Join(ops, ","))
}

func TestAStreamThatIsNotOnceAndInOrderIsFound(t *testing.T) {
	first := pushed("BIZ_A", 0, 1, messageID(0, 0))
	for name, tt := range map[string]struct{ stream, want string }{
		"right":      {":ok\n\n" + first + pushed("BIZ_A", 1, 3, messageID(0, 1), messageID(0, 2)), "the stream ended"},
		"twice":      {first + pushed("BIZ_A", 1, 2, messageID(0, 0)), "came twice"},
		"gap":        {first + pushed("BIZ_A", 2, 3, messageID(0, 1)), "(2, 3] with 1 entries after 1"},
		"again":      {first + first, "(0, 1] with 1 entries after 1"},
		"filtered":   {first + pushed("BIZ_A", 1, 3, messageID(0, 1)), "(1, 3] with 1 entries"},
		"wrong id":   {strings.Replace(first, `"id":1`, `"id":2`, 1), "id 2 where 1 is due"},
		"not sent":   {pushed("BIZ_A", 0, 1, messageID(0, 3)), "nobody sent it"},
		"no phase":   {pushed("BIZ_A", 0, 1, messageID(7, 0)), "nobody sent"},
		"strange":    {pushed("BIZ_Z", 0, 1, messageID(0, 0)), `business "BIZ_Z"`},
		"closed":     {first + "event: close\ndata: {}\n\n", "the server closed the stream"},
		"not JSON":   {"event: sync\ndata: {\n\n", "read event"},
		"not begun ": {pushed("BIZ_A", 0, 1, messageID(1, 0)), "before it was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhase(0, kafkaDoor, 3, time.Second)
			p.begin(time.Now())
			s := stream{user: "u", phases: []*phase{p, newPhase(1, kafkaDoor, 1, time.Second)}}
			if err := s.read(strings.NewReader(tt.stream)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			select {
			case <-p.complete:
				if name != "right" {
					t.Error("counts as complete")
				}
			default:
				if name == "right" {
					t.Errorf("%d are missing", p.missing())
				}
			}
		})
	}
}

func TestPushesAreTimedFromWhenTheyWereDue(t *testing.T) {
	p := newPhase(0, kafkaDoor, 2, time.Second)
	began := time.Now()
	p.begin(began)
	if err := p.arrive(1, began.Add(700*time.Millisecond)); err != nil { // due at 500 ms
		t.Fatal(err)
	}
	if got := p.pushes.At(100).Round(time.Millisecond); got != 200*time.Millisecond {
		t.Errorf("counts as %s", got)
	}
}

func TestReportHoldsMediansAgainstTheAims(t *testing.T) {
	run := func(broker, door string, push, answer time.Duration) Run {
		p := newPhase(0, door, 500, time.Second)
		p.pushes.Record(push)
		r := Run{Broker: broker, Door: door, Rate: 500, Pushes: p.pushes, Duration: time.Second}
		if door == httpDoor {
			p.answers.Record(answer)
			r.Answers = p.answers
		}
		return r
	}
	dir := t.TempDir()
	r := &Results{Clients: 3, Idle: &Idle{Streams: 2, Before: 1 << 20, After: 3 << 20}, Runs: []Run{
		run(onKafka, kafkaDoor, 5*time.Millisecond, 0), run(onKafka, httpDoor, time.Millisecond, 12*time.Millisecond),
		run(onEmbedded, kafkaDoor, time.Second, 0),
	}}
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	back, err := report.ReadResults[Results](dir + "/" + resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(reportText(back)), " ") // without the tables' padding
	for _, want := range []string{
		"p50 at most 6.00 ms | 5.00 | yes |", "p50 at most 8.00 ms | 12.0 | no |",
		"embedded: Kafka → SSE client", "1,024 KiB of resident memory each",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	if index, i, ok := parseMessageID(messageID(3, 12345)); index != 3 || i != 12345 || !ok {
		t.Errorf("%d, %d, %t", index, i, ok)
	}
	for _, s := range []string{"", "live-00-00000000x", "live-0-0000000000", "msg-00-000000000"} {
		if _, _, ok := parseMessageID(s); ok {
			t.Errorf("%q was read", s)
		}
	}
}
