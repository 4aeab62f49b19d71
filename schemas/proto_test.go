package schemas

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// public are the public records, each with its codec.
var public = []struct {
	message string
	decode  func([]byte) (any, error)
	encode  func(any) []byte
}{
	{"SyncRequest",
		func(b []byte) (any, error) { r := new(Request); return r, r.DecodeProto(b) },
		func(r any) []byte { return r.(*Request).AppendProto(nil) }},
	{"OplogEntry",
		func(b []byte) (any, error) { e := new(Entry); return e, e.Decode(b) },
		func(e any) []byte { return AppendChain(e.(*Entry).AppendCanonical(nil), e.(*Entry).Chain) }},
	{"SyncResult",
		func(b []byte) (any, error) { r := new(Result); return r, r.DecodeProto(b) },
		func(r any) []byte { return r.(*Result).AppendProto(nil) }},
}

func descriptor(t testing.TB, message string) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"."}}}
	files, err := c.Compile(context.Background(), "tidemark.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName(protoreflect.Name(message))
}

// random fills a message with values as producers may send them, edge cases
// more often than chance would have it.
func random(rng *rand.Rand, desc protoreflect.MessageDescriptor) *dynamicpb.Message {
	m := dynamicpb.NewMessage(desc)
	for i := range desc.Fields().Len() {
		f := desc.Fields().Get(i)
		if f.Name() == "chain" {
			chain := make([]byte, ChainLen)
			for i := range chain {
				chain[i] = byte(rng.Uint32())
			}
			m.Set(f, protoreflect.ValueOfBytes(chain))
			continue
		}
		if rng.IntN(4) > 0 {
			m.Set(f, randomValue(rng, f))
		}
	}
	if f := desc.Fields().ByName("success"); f != nil {
		// Not a field of its own: it follows from the code.
		code := Code(m.Get(desc.Fields().ByName("msg")).String())
		m.Set(f, protoreflect.ValueOfBool(code.OK()))
	}
	return m
}

func randomValue(rng *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	texts := []string{"", "a", "é", "日本語", "\x00", "\U0001F600", strings.Repeat("x", 127), strings.Repeat("y", 128), strings.Repeat("é", 150), "SUCCESS", "global"}
	ints := []int64{0, 1, -1, 127, 128, 300, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, rng.Int64()}
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(texts[rng.IntN(len(texts))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(texts[rng.IntN(len(texts))] + "\xff\x00"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(ints[rng.IntN(len(ints))])
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(ints[rng.IntN(len(ints))]))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rng.IntN(2) == 1)
	}
	panic(fmt.Sprintf("field %s: kind %s is not one of ours", f.FullName(), f.Kind()))
}

// shuffled encodes a message as another runtime may: fields in any order, some
// given twice, and fields that we do not know. The chain stays last.
func shuffled(t *testing.T, rng *rand.Rand, m *dynamicpb.Message) []byte {
	var parts [][]byte
	var last []byte
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		one := dynamicpb.NewMessage(m.Descriptor())
		one.Set(f, v)
		b, err := proto.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case f.Name() == "chain":
			last = b
		default:
			parts = append(parts, b)
		}
		return true
	})
	parts = append(parts, unknownFields(rng)...)
	rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return append(bytes.Join(parts, nil), last...)
}

func unknownFields(rng *rand.Rand) [][]byte {
	group := protowire.AppendTag(nil, 1002, protowire.StartGroupType)
	group = protowire.AppendVarint(protowire.AppendTag(group, 1, protowire.VarintType), 7)
	all := [][]byte{
		protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 5),
		protowire.AppendBytes(protowire.AppendTag(nil, 1001, protowire.BytesType), []byte("later")),
		protowire.AppendTag(group, 1002, protowire.EndGroupType),
		protowire.AppendFixed32(protowire.AppendTag(nil, 1003, protowire.Fixed32Type), 9),
		protowire.AppendFixed64(protowire.AppendTag(nil, 536870911, protowire.Fixed64Type), 9),
	}
	return all[:rng.IntN(len(all)+1)]
}

func TestPublicRecordsFollowTheProtoFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range public {
		desc := descriptor(t, p.message)
		seen := map[protoreflect.Name]bool{}
		for range 300 {
			m := random(rng, desc)
			m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool { seen[f.Name()] = true; return true })
			ours, err := p.decode(shuffled(t, rng, m))
			if err != nil {
				t.Fatalf("%s: %v\n%v", p.message, err, m)
			}
			wire := p.encode(ours)
			back := dynamicpb.NewMessage(desc)
			if err := proto.Unmarshal(wire, back); err != nil {
				t.Fatalf("%s: our bytes: %v", p.message, err)
			}
			if !proto.Equal(back, m) {
				t.Fatalf("%s: became\n%v\nwas\n%v", p.message, back, m)
			}
			theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(wire, theirs) {
				t.Fatalf("%s: our bytes\n%x\nwant ascending fields without defaults\n%x", p.message, wire, theirs)
			}
		}
		for i := range desc.Fields().Len() {
			if name := desc.Fields().Get(i).Name(); !seen[name] {
				t.Errorf("%s.%s was in no message", p.message, name)
			}
		}
	}
}

// Every field of the Go record is a field of the message, so that nothing of
// it can get lost between two nodes.
func TestEveryGoFieldIsOnTheWire(t *testing.T) {
	desc := descriptor(t, "OplogEntry")
	for i := range reflect.TypeFor[Entry]().NumField() {
		e := Entry{}
		v := reflect.ValueOf(&e).Elem().Field(i)
		name := reflect.TypeFor[Entry]().Field(i).Name
		set(v)
		m := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(AppendChain(e.AppendCanonical(nil), e.Chain), m); err != nil {
			t.Fatal(err)
		}
		n := 0
		m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { n++; return true })
		want := 2 // the field and the chain
		if name == "Chain" {
			want = 1
		}
		if n != want {
			t.Errorf("Entry.%s: %d fields on the wire, want %d", name, n, want)
		}
	}
}

// set gives a value that is not the zero value.
func set(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(3)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), 2, 2)
		for i := range 2 {
			set(s.Index(i))
		}
		v.Set(s)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Array:
		for i := range v.Len() {
			set(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			set(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem())
	default:
		panic("kind " + v.Kind().String())
	}
}

func TestCanonicalBytesAreTheRecordWithoutItsLast19Bytes(t *testing.T) {
	e := Entry{InstanceID: "i", OplogID: 1, PrevOffset: -1, Chain: [ChainLen]byte{1, 2, 15: 9}}
	canonical := e.AppendCanonical(nil)
	record := AppendChain(slices.Clone(canonical), e.Chain)
	if len(record) != len(canonical)+19 || ChainSuffixLen != 19 {
		t.Errorf("the chain takes %d bytes", len(record)-len(canonical))
	}
	got, err := Canonical(record)
	if err != nil || !bytes.Equal(got, canonical) {
		t.Errorf("got %x, %v, want %x", got, err, canonical)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "short": record[len(record)-18:], "no chain": canonical, "a byte behind it": append(slices.Clone(record), 0), "cut": record[:len(record)-1],
	} {
		if _, err := Canonical(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := new(Entry).Decode(bad); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestTheCanonicalBytesOfALaterReleaseAreKept(t *testing.T) {
	// A later release may have added a field; what is hashed is what was written.
	e := Entry{InstanceID: "i", OplogID: 1}
	canonical := protowire.AppendVarint(protowire.AppendTag(e.AppendCanonical(nil), 20, protowire.VarintType), 77)
	var back Entry
	if err := back.Decode(AppendChain(slices.Clone(canonical), e.Chain)); err != nil || back.OplogID != 1 {
		t.Fatalf("%+v, %v", back, err)
	}
	if got, err := Canonical(AppendChain(slices.Clone(canonical), e.Chain)); err != nil || !bytes.Equal(got, canonical) {
		t.Errorf("got %x, %v", got, err)
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	tag := func(num protowire.Number, typ protowire.Type, rest ...byte) []byte {
		return append(protowire.AppendTag(nil, num, typ), rest...)
	}
	chain := AppendChain(nil, [ChainLen]byte{})
	for name, b := range map[string][]byte{
		"text that is not UTF-8":    tag(1, protowire.BytesType, 1, 0xff),
		"half a surrogate in UTF-8": tag(1, protowire.BytesType, 3, 0xed, 0xa0, 0x80),
		"text as a number":          tag(1, protowire.VarintType, 1),
		"a number as text":          tag(10, protowire.BytesType, 1, 'x'),
		"cut in a tag":              {0xff},
		"cut in a length":           tag(1, protowire.BytesType, 0xff),
		"cut in a value":            tag(1, protowire.BytesType, 5, 'x'),
		"a length over 2^63":        tag(1, protowire.BytesType, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"a varint of 11 bytes":      tag(10, protowire.VarintType, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"field number 0":            {0x00, 0x01},
		"wire type 6":               {0x0e},
		"a group without an end":    tag(1, protowire.StartGroupType),
		"an end without a group":    tag(1, protowire.EndGroupType),
	} {
		for _, p := range public {
			input := b
			if p.message == "OplogEntry" {
				input = append(slices.Clone(b), chain...)
			}
			if name == "a number as text" && p.message == "SyncResult" {
				continue // field 10 there too, but of another name
			}
			if v, err := p.decode(input); err == nil {
				t.Errorf("%s as %s: decoded as %+v", name, p.message, v)
			} else if !strings.Contains(err.Error(), p.message) {
				t.Errorf("%s as %s: the error does not say what was read: %v", name, p.message, err)
			}
		}
	}
}

func TestEveryPrefixOfAMessageIsHandled(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, p := range public {
		m := random(rng, descriptor(t, p.message))
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for n := range wire {
			_, _ = p.decode(wire[:n]) // must not panic
		}
	}
}

func TestDecodingReplacesAllThatWasThere(t *testing.T) {
	r := Request{BizType: "old", Binary: []byte("old"), Base64: "old", ValidTimeEnd: 1}
	if err := r.DecodeProto(nil); err != nil || !reflect.DeepEqual(r, Request{}) {
		t.Errorf("%+v, %v", r, err)
	}
	r = Request{BizType: "old", Binary: []byte("old"), Base64: "old", ValidTimeEnd: 1}
	if err := r.DecodeJSON([]byte("{}")); err != nil || !reflect.DeepEqual(r, Request{}) {
		t.Errorf("%+v, %v", r, err)
	}
	e := Entry{BizType: "old", OplogID: 9}
	if err := e.Decode(AppendChain(nil, [ChainLen]byte{})); err != nil || !reflect.DeepEqual(e, Entry{}) {
		t.Errorf("%+v, %v", e, err)
	}
}
