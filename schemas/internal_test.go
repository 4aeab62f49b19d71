package schemas

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Records between our own nodes: what is written is read again, whole.
func TestInternalRecordsComeBackWhole(t *testing.T) {
	for _, c := range []struct{ was, is codec }{
		{new(Ack), new(Ack)}, {new(Presence), new(Presence)}, {new(Change), new(Change)}, {new(controlCodec), new(controlCodec)},
		{new(Checkpoint), new(Checkpoint)}, {&Checkpoint{Base: new(Base)}, new(Checkpoint)},
	} {
		v := reflect.ValueOf(c.was).Elem()
		if base, ok := c.was.(*Checkpoint); ok && base.Base != nil {
			set(reflect.ValueOf(base.Base).Elem())
		} else {
			if ok {
				v = reflect.ValueOf(base).Elem()
			}
			for i := range v.NumField() {
				if v.Type().Field(i).Name != "Base" {
					set(v.Field(i))
				}
			}
		}
		if err := c.is.Decode(c.was.Append(nil)); err != nil || !reflect.DeepEqual(c.is, c.was) {
			t.Errorf("%T: got %+v, %v, want %+v", c.was, c.is, err, c.was)
		}
		prefix := []byte("kept")
		if got := c.was.Append(slices.Clone(prefix)); !slices.Equal(got[:4], prefix) || !slices.Equal(got[4:], c.was.Append(nil)) {
			t.Errorf("%T: Append does not append", c.was)
		}
	}
}

func TestARecordOfANewerReleaseIsSaidToBeOne(t *testing.T) {
	for what, c := range map[string]codec{"ack": new(Ack), "presence": new(Presence), "checkpoint": new(Checkpoint)} {
		b := c.Append(nil)
		b[0]++
		if err := c.Decode(b); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if err := c.Decode(nil); err == nil || errors.Is(err, ErrVersion) {
			t.Errorf("empty %s: %v", what, err)
		}
	}
}

func TestAControlRecordIsRefusedUnlessEveryBitIsSigned(t *testing.T) {
	key := ClusterKey{1, 2, 3}
	c := Control{Partition: 3, Time: 4, Revision: 5, Changes: []Change{{Kind: PutInstance, InstanceID: "i"}}}
	record := c.Append(nil, key)
	for bit := range len(record) * 8 {
		bad := slices.Clone(record)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := new(Control).Decode(bad, key); !errors.Is(err, ErrMAC) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range len(record) {
		if err := new(Control).Decode(record[:n], key); !errors.Is(err, ErrMAC) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if err := new(Control).Decode(append(slices.Clone(record), 0), key); !errors.Is(err, ErrMAC) {
		t.Errorf("a byte too many: %v", err)
	}
	if err := new(Control).Decode(record, ClusterKey{1, 2, 4}); !errors.Is(err, ErrMAC) {
		t.Errorf("another key: %v", err)
	}
	newer := append(append([]byte{2}, controlMAC(key, 2, []byte("?"))...), '?')
	if err := new(Control).Decode(newer, key); !errors.Is(err, ErrVersion) || errors.Is(err, ErrMAC) {
		t.Errorf("signed by a newer release: %v", err)
	}
}

func TestAControlRecordOutlivesItsBuffer(t *testing.T) {
	c := Control{Changes: []Change{{Kind: PutSync, InstanceID: "instance", Sync: SyncConfig{BizType: "business"}}}}
	record := c.Append(nil, ClusterKey{})
	var back Control
	if err := back.Decode(record, ClusterKey{}); err != nil {
		t.Fatal(err)
	}
	clear(record)
	if !reflect.DeepEqual(back, c) {
		t.Errorf("%+v", back)
	}
}

func TestTheClusterKeysNameDoesNotTellTheKey(t *testing.T) {
	a, b := ClusterKey{1}, ClusterKey{2}
	if a.ID() == b.ID() || a.ID() != (ClusterKey{1}).ID() || len(a.ID()) != 8 {
		t.Errorf("%s and %s", a.ID(), b.ID())
	}
}

func TestNestedRecordsMustBeBytes(t *testing.T) {
	number := func(num protowire.Number) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), 1)
	}
	key := ClusterKey{}
	body := number(5) // changes
	record := append(append([]byte{1}, controlMAC(key, 1, body)...), body...)
	if err := new(Control).Decode(record, key); err == nil {
		t.Error("a change that is a number was read")
	}
	if err := new(Checkpoint).Decode(append([]byte{1}, number(6)...)); err == nil {
		t.Error("a base that is a number was read")
	}
	base := protowire.AppendBytes(protowire.AppendTag([]byte{1}, 6, protowire.BytesType), number(10))
	if err := new(Checkpoint).Decode(base); err == nil {
		t.Error("a change of a base that is a number was read")
	}
}

// No two different tuples may have one key: a compacted topic would lose one.
func TestKeysDoNotCollide(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	parts := []string{"", "a", "b", "ab", "a\x12\x01b", "\x0a\x01a", "/", "\x00", strings.Repeat("x", 127), strings.Repeat("x", 128), "é"}
	part := func() string { return parts[rng.IntN(len(parts))] }
	seen := map[string]any{}
	once := func(key []byte, what any) {
		if was, ok := seen[string(key)]; ok && !reflect.DeepEqual(was, what) {
			t.Fatalf("%q is the key of %+v and of %+v", key, was, what)
		}
		seen[string(key)] = what
	}
	for range 20_000 {
		c := Checkpoint{InstanceID: part(), BizType: part(), LinkToken: part()}
		once(append([]byte("counter:"), c.RecordKey()...), c)
		i, b, l, err := ParseCounterKey(c.RecordKey())
		if err != nil || i != c.InstanceID || b != c.BizType || l != c.LinkToken {
			t.Fatalf("%+v reads as %q %q %q, %v", c, i, b, l, err)
		}
		a := Ack{InstanceID: part(), BizType: part(), Target: part(), DeviceID: part(), Back: len(part())%2 == 0}
		once(append([]byte("ack:"), a.RecordKey()...), a)
		p := Presence{EdgeID: part(), Session: part(), Dimension: part(), InstanceID: part(), Target: part()}
		once(append([]byte("presence:"), p.RecordKey()...), p)
	}
	if base := (&Checkpoint{Base: new(Base)}).RecordKey(); seen["counter:"+string(base)] != nil {
		t.Errorf("the base has the key of %+v", seen["counter:"+string(base)])
	}
}

func TestAPresenceRecordWithoutASessionIsALease(t *testing.T) {
	if !(&Presence{EdgeID: "e"}).Lease() || (&Presence{Session: "s"}).Lease() {
		t.Error("told apart wrongly")
	}
}
