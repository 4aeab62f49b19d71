package schemas

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// frames has every kind of frame with every field set, beside its text form
// by session.proto.
var frames = []struct {
	frame Frame
	text  string
}{
	{Frame{Hello: &Hello{1, "demo_APP1", "ck", "d1", "cred", "u1", "s1", "iOS", "8.6.0", []Interest{{"A", 3, true, 1}, {"B", 0, true, 9}, {BizType: "C"}}, 256, 1 << 18, true}},
		`hello{version:1 instance_id:"demo_APP1" client_key:"ck" device_id:"d1" device_credential:"cred" user_id:"u1" session_id:"s1" os:"iOS" app_version:"8.6.0"
		 biz{biz_type:"A" point:3 known:true rewind:1} biz{biz_type:"B" known:true rewind:9} biz{biz_type:"C"} window_entries:256 window_bytes:262144 background:true}`},
	{Frame{Welcome: &Welcome{"e.1", 30000, 256, 1 << 18, 17, "cred", []Standing{{"A", 3, 9, false}, {"Z", 0, 0, true}}}},
		`welcome{session:"e.1" heartbeat_millis:30000 window_entries:256 window_bytes:262144 time:17 device_credential:"cred" biz{biz_type:"A" from:3 head:9} biz{biz_type:"Z" unknown:true}}`},
	{Frame{Batch: &Batch{[]Span{{"A", 3, 7, []Op{{4, "m4", "text", nil}, {7, "m7", "", []byte{1, 2}}}, 0}, {"B", 0, 2, nil, 1700000000000}}}},
		`batch{span{biz_type:"A" from:3 to:7 op{id:4 third_msg_id:"m4" pl:"text"} op{id:7 third_msg_id:"m7" bin:"\x01\x02"}} span{biz_type:"B" to:2 rewind:1700000000000}}`},
	{Frame{Acks: &Acks{[]AckTo{{"A", 7, 1}}}}, `ack{ack{biz_type:"A" to:7 rewind:1}}`},
	{Frame{Ping: &Ping{[]AckTo{{"A", 7, 0}}, 5}}, `ping{ack{biz_type:"A" to:7} time:5}`},
	{Frame{Pong: &Pong{5, []Standing{{"A", 7, 9, false}}}}, `pong{time:5 biz{biz_type:"A" from:7 head:9}}`},
	{Frame{Close: &Close{CloseReplaced, "why", 100}}, `close{code:4300 reason:"why" retry_after_millis:100}`},
	{Frame{Register: &Register{[]Interest{{"A", -1, true, 0}}}}, `register{biz{biz_type:"A" point:-1 known:true}}`},
	{Frame{Unregister: &Unregister{[]string{"A", "B"}}}, `unregister{biz_type:"A" biz_type:"B"}`},
	{Frame{Bind: &Bind{"u", "s", []Interest{{"A", 1, true, 0}}}}, `bind{user_id:"u" session_id:"s" biz{biz_type:"A" point:1 known:true}}`},
	{Frame{Unbind: &Unbind{}}, `unbind{}`},
	{Frame{Foreground: &Foreground{}}, `foreground{}`},
	{Frame{Background: &Background{}}, `background{}`},
	{Frame{Move: &Move{100, "host:1", "drain"}}, `move{after_millis:100 address:"host:1" reason:"drain"}`},
	{Frame{Notice: &Notice{NoticeAckRefused, "A", 9, "never sent"}}, `notice{code:1 biz_type:"A" id:9 text:"never sent"}`},
}

func frameDescriptor(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"."}}}
	files, err := c.Compile(context.Background(), "session.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName("Frame")
}

func TestFramesFollowTheProtoFile(t *testing.T) {
	desc := frameDescriptor(t)
	covered := make(map[protoreflect.Name]bool)
	for _, c := range frames {
		want := dynamicpb.NewMessage(desc)
		if err := prototext.Unmarshal([]byte(c.text), want); err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		want.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			covered[f.Name()] = true
			return true
		})
		wire := c.frame.Append(nil)
		got := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(wire, got); err != nil {
			t.Fatalf("%s: our bytes: %v", c.text, err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("our bytes mean\n%v\nwant\n%v", got, want)
		}
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var back Frame
		if err := back.Decode(theirs); err != nil || !reflect.DeepEqual(back, c.frame) {
			t.Errorf("%s: read back as %+v, %v", c.text, back, err)
		}
	}
	for i := range desc.Fields().Len() {
		if name := desc.Fields().Get(i).Name(); !covered[name] {
			t.Errorf("frame %s is in session.proto and in no test case", name)
		}
	}
}

func TestEncodedSpansAreABatch(t *testing.T) {
	e4 := Entry{OplogID: 4, ThirdMsgID: "m4", Payload: "text"}
	e7 := Entry{OplogID: 7, ThirdMsgID: "m7", Binary: []byte{1, 2}}
	got := AppendSpans(nil, []EncodedSpan{{"A", 3, 7, [][]byte{AppendOp(nil, &e4), AppendOp(nil, &e7)}, 5}})
	want := (&Frame{Batch: &Batch{[]Span{{"A", 3, 7, []Op{{4, "m4", "text", nil}, {7, "m7", "", []byte{1, 2}}}, 5}}}}).Append(nil)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestNextFrame(t *testing.T) {
	var stream []byte
	for _, c := range frames {
		stream = c.frame.AppendFramed(stream)
	}
	var held []byte // as a connection that gets one byte at a time
	n := 0
	for i := range stream {
		held = append(held, stream[i])
		body, rest, _, err := NextFrame(held, MaxServerFrame)
		if err != nil {
			t.Fatal(err)
		}
		if body == nil {
			continue
		}
		if want := frames[n].frame.Append(nil); !bytes.Equal(body, want) {
			t.Fatalf("frame %d: %x, want %x", n, body, want)
		}
		n++
		held = rest
	}
	if n != len(frames) || len(held) != 0 {
		t.Errorf("%d of %d frames, %d bytes left", n, len(frames), len(held))
	}
	if _, _, _, err := NextFrame([]byte{0, 1, 0, 1}, 1<<16); !errors.Is(err, ErrFrameSize) {
		t.Errorf("65,537 bytes announced: %v", err)
	}
}

func TestFrameRefusesLongLists(t *testing.T) {
	many := Register{Biz: make([]Interest, MaxInterests+1)}
	var f Frame
	if err := f.Decode((&Frame{Register: &many}).Append(nil)); err == nil || !strings.Contains(err.Error(), "more than 64") {
		t.Errorf("65 businesses: %v", err)
	}
}

func TestCloseCodesTellWhatToDo(t *testing.T) {
	for code, want := range map[CloseCode]RetryRule{
		CloseGoingAway: RetryNow, CloseInternal: RetryNow, CloseOverloaded: RetryLater, CloseNotReady: RetryLater,
		CloseSilent: RetryLater, CloseSlow: RetryLater, CloseUnauthorized: RetryWithNewCreds, CloseDevice: RetryWithNewCreds,
		CloseReplaced: RetryNever, CloseProtocol: RetryNever, CloseTooLarge: RetryNever, CloseBadHello: RetryNever,
		CloseVersion: RetryNever, CloseNormal: RetryNever, 1006: RetryLater, 0: RetryLater,
	} {
		if got := code.Retry(); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, c := range frames {
		f.Add(c.frame.Append(nil))
	}
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var one, two Frame
		if one.Decode(b) != nil {
			return
		}
		wire := one.Append(nil)
		if err := two.Decode(wire); err != nil {
			t.Fatalf("our own bytes %x: %v", wire, err)
		}
		if again := two.Append(nil); !bytes.Equal(wire, again) {
			t.Fatalf("%x became %x", wire, again)
		}
	})
}

func FuzzNextFrame(f *testing.F) {
	f.Add((&Frame{Unbind: &Unbind{}}).AppendFramed(nil))
	f.Fuzz(func(t *testing.T, stream []byte) {
		for {
			body, rest, _, err := NextFrame(stream, MaxClientFrame)
			if err != nil || body == nil {
				return
			}
			if len(body)+len(rest)+FrameLengthBytes != len(stream) {
				t.Fatalf("%d bytes became %d and %d", len(stream), len(body), len(rest))
			}
			var fr Frame
			_ = fr.Decode(body) // must not panic
			stream = rest
		}
	})
}
