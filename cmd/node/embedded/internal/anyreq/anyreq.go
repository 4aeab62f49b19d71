// Package anyreq makes up Kafka requests: well-formed, and otherwise as odd
// as the protocol allows. Tests hold the guard and the broker against them.
package anyreq

import (
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pool is what requests are made of, next to edge values of every type. All
// fields may be empty.
type Pool struct {
	Strings []string
	IDs     [][16]byte
	Bytes   func(*rand.Rand) []byte
	// Leave names fields, as Request.Field, that keep their default.
	Leave map[string]bool
	// List bounds the length of an array; default 3.
	List int
}

var (
	edges = []int64{0, 0, 1, 1, 2, 3, -1, -1, -2, 7, 100, 30_000, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, math.MaxInt16}
	texts = []string{"", "a", "\x00", "..", "consumer", "range", "-1", "0"}
)

// Make makes up a request of a key in a version; nil if there is no such key.
func Make(r *rand.Rand, key, version int16, p Pool) kmsg.Request {
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil
	}
	if p.List == 0 {
		p.List = 3
	}
	req.SetVersion(version)
	v := reflect.ValueOf(req).Elem()
	m := maker{r, p, v.Type().Name()}
	m.fields(v)
	req.SetVersion(version)
	return req
}

// Frame is the request as it goes over the wire.
func Frame(req kmsg.Request, correlation int32, client string) []byte {
	b := make([]byte, 4, 256)
	b = kbin.AppendInt16(b, req.Key())
	b = kbin.AppendInt16(b, req.GetVersion())
	b = kbin.AppendInt32(b, correlation)
	b = kbin.AppendNullableString(b, &client)
	if req.IsFlexible() {
		b = append(b, 0)
	}
	b = req.AppendTo(b)
	kbin.AppendInt32(b[:0], int32(len(b)-4))
	return b
}

type maker struct {
	r    *rand.Rand
	p    Pool
	root string
}

func (m *maker) fields(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Name != "Version" && !m.p.Leave[m.root+"."+f.Name] {
			m.fill(v.Field(i))
		}
	}
}

func (m *maker) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(m.r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(edges[m.r.IntN(len(edges))])
	case reflect.String:
		v.SetString(m.text())
	case reflect.Pointer:
		if m.r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			m.fill(v.Elem())
		}
	case reflect.Slice:
		m.slice(v)
	case reflect.Array:
		m.id(v)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			if m.r.IntN(20) == 0 {
				v.Addr().Interface().(*kmsg.Tags).Set(uint32(100+m.r.IntN(5)), []byte("tag"))
			}
			return
		}
		m.fields(v)
	}
}

func (m *maker) text() string {
	if n := len(m.p.Strings); n > 0 && m.r.IntN(4) > 0 {
		return m.p.Strings[m.r.IntN(n)]
	}
	return texts[m.r.IntN(len(texts))]
}

func (m *maker) id(v reflect.Value) {
	if v.Len() != 16 {
		return
	}
	var id [16]byte
	if n := len(m.p.IDs); n > 0 && m.r.IntN(4) > 0 {
		id = m.p.IDs[m.r.IntN(n)]
	} else if m.r.IntN(2) == 0 {
		id[0] = byte(m.r.Uint32())
	}
	v.Set(reflect.ValueOf(id))
}

func (m *maker) slice(v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		var b []byte
		if m.p.Bytes != nil && m.r.IntN(4) > 0 {
			b = m.p.Bytes(m.r)
		} else if m.r.IntN(3) > 0 {
			b = make([]byte, m.r.IntN(100))
			for i := range b {
				b[i] = byte(m.r.Uint32())
			}
		}
		v.SetBytes(b)
		return
	}
	n := m.r.IntN(m.p.List+2) - 1
	if n < 0 {
		v.SetZero()
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		if d, ok := v.Index(i).Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		m.fill(v.Index(i))
	}
}
