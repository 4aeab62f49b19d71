package guard

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newBatch is a record batch in order.
func newBatch(t testing.TB, codec kgo.CompressionCodec, values ...string) []byte {
	t.Helper()
	rb := kmsg.RecordBatch{Magic: 2, NumRecords: int32(len(values)), LastOffsetDelta: int32(len(values)) - 1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}
	for i, v := range values {
		rec := kmsg.Record{OffsetDelta: int32(i), Value: []byte(v), Headers: []kmsg.Header{{Key: "k", Value: []byte("v")}, {Key: "null"}}}
		if i%2 == 0 {
			rec.Key = []byte("key")
		}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		if n := len(binary.AppendVarint(nil, int64(rec.Length))); n > 1 {
			rec.Length = int32(len(rec.AppendTo(nil)) - n)
		}
		rb.Records = rec.AppendTo(rb.Records)
	}
	c, err := kgo.DefaultCompressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		out, kind := c.Compress(new(bytes.Buffer), rb.Records)
		rb.Records, rb.Attributes = out, int16(kind)
	}
	return seal(rb.AppendTo(nil))
}

func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
	return b
}

var allCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func TestGoodBatchesPass(t *testing.T) {
	c := newCodecs(testBatchBytes)
	for name, codec := range allCodecs {
		for _, values := range [][]string{{"1"}, {"1", "2", "3"}, {strings.Repeat("long ", 1<<17), ""}} {
			if err := c.checkBatch(newBatch(t, codec, values...)); err != nil {
				t.Errorf("%s, %d records: %v", name, len(values), err)
			}
		}
	}
	if err := c.checkBatch(xerialBatch(t, "1", "2")); err != nil {
		t.Errorf("Java's snappy: %v", err)
	}
}

// xerialBatch is snappy in Java's framing, in blocks of a few bytes.
func xerialBatch(t testing.TB, values ...string) []byte {
	t.Helper()
	plain := newBatch(t, kgo.NoCompression(), values...)
	c, err := kgo.DefaultCompressor(kgo.SnappyCompression())
	if err != nil {
		t.Fatal(err)
	}
	framed := append(append([]byte{}, xerial...), 0, 0, 0, 1, 0, 0, 0, 1)
	for rest := plain[batchHeader:]; len(rest) > 0; {
		n := min(len(rest), 5)
		block, _ := c.Compress(new(bytes.Buffer), rest[:n])
		framed = binary.BigEndian.AppendUint32(framed, uint32(len(block)))
		framed = append(framed, block...)
		rest = rest[n:]
	}
	b := append(plain[:batchHeader:batchHeader], framed...)
	b[batchAttributes+1] |= codecSnappy
	return seal(b)
}

func TestBadBatchesAreNamed(t *testing.T) {
	c := newCodecs(testBatchBytes)
	edit := func(codec string, change func(b []byte)) []byte {
		b := newBatch(t, allCodecs[codec], "1", "2")
		change(b)
		return seal(b)
	}
	count := func(n, lastDelta int32) func([]byte) {
		return func(b []byte) {
			binary.BigEndian.PutUint32(b[batchCount:], uint32(n))
			binary.BigEndian.PutUint32(b[batchLastDelta:], uint32(lastDelta))
		}
	}
	for name, test := range map[string]struct {
		b    []byte
		says string
	}{
		"no records":        {edit("none", count(0, -1)), "0 records"},
		"minus records":     {edit("none", count(-5, -6)), "-5 records"},
		"more records":      {edit("none", count(3, 2)), "record 3 of 3"},
		"many more records": {edit("zstd", count(1<<31-1, 1<<31-2)), "record 3 of 2147483647"},
		"fewer records":     {edit("gzip", count(1, 0)), "after the last of 1"},
		"transaction":       {edit("none", func(b []byte) { b[batchAttributes+1] |= attrTransactional }), "transactions"},
		"wrong codec":       {edit("zstd", func(b []byte) { b[batchAttributes+1] ^= codecZstd ^ codecLZ4 }), "decompress"},
		"record length":     {edit("none", func(b []byte) { b[batchHeader] ^= 0xff }), "its length is wrong"},
		"offset delta":      {edit("none", func(b []byte) { b[batchHeader+3] = 8 }), "offset delta"},
		"key length":        {edit("none", func(b []byte) { b[batchHeader+4] = 0xfe }), "a field inside"},
		"zstd bomb":         {bomb(t, allCodecs["zstd"]), "decompresses to more"},
		"gzip bomb":         {bomb(t, allCodecs["gzip"]), "decompresses to more"},
		"lz4 bomb":          {bomb(t, allCodecs["lz4"]), "decompresses to more"},
		"snappy bomb":       {bomb(t, allCodecs["snappy"]), "decompresses to more"},
	} {
		if err := c.checkBatch(test.b); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const testBatchBytes = 1 << 20

// bomb is a batch whose records take more than is allowed.
func bomb(t testing.TB, codec kgo.CompressionCodec) []byte {
	return newBatch(t, codec, strings.Repeat("0", testBatchBytes/2), strings.Repeat("0", testBatchBytes/2))
}

func TestRefusedBatchIsOneThatTheBrokerRefuses(t *testing.T) {
	b := newBatch(t, kgo.NoCompression(), "1")
	refuse(b)
	if b[batchAttributes+1]&attrControl == 0 || !bytes.Equal(b, seal(bytes.Clone(b))) {
		t.Errorf("refused: %x", b)
	}
	damaged := newBatch(t, kgo.NoCompression(), "1")
	damaged[batchCRC]++
	want := bytes.Clone(damaged)
	if refuse(damaged); !bytes.Equal(damaged, want) {
		t.Error("a batch damaged on the way was sealed anew")
	}
}

// FuzzBatch: whatever passes, a consumer can read.
func FuzzBatch(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add(newBatch(f, codec, "1", "2"))
	}
	f.Add(xerialBatch(f, "1", "2"))
	c := newCodecs(testBatchBytes)
	d := kgo.DefaultDecompressor()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < batchHeader {
			return
		}
		b = seal(b)
		b[batchMagic] = 2
		if c.checkBatch(b) != nil || b[batchAttributes+1]&attrControl != 0 {
			return
		}
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b); err != nil || rb.LastOffsetDelta != rb.NumRecords-1 || rb.Attributes&attrCodec > codecZstd {
			return // the broker refuses it
		}
		raw, err := d.Decompress(rb.Records, kgo.CompressionCodecType(rb.Attributes&attrCodec))
		if err != nil {
			t.Fatalf("passed, but does not decompress: %v", err)
		}
		for range rb.NumRecords {
			var rec kmsg.Record
			if err := rec.ReadFrom(raw); err != nil {
				t.Fatalf("passed, but a record does not decode: %v", err)
			}
			n, w := binary.Varint(raw)
			raw = raw[int(n)+w:]
		}
		if len(raw) > 0 {
			t.Fatalf("passed, but %d bytes are left over", len(raw))
		}
	})
}

func BenchmarkCheckBatch(b *testing.B) {
	values := make([]string, 400)
	for i := range values {
		values[i] = strings.Repeat("payload ", 32)
	}
	for name, codec := range allCodecs {
		batch := newBatch(b, codec, values...)
		b.Run(name, func(b *testing.B) {
			c := newCodecs(testBatchBytes)
			b.SetBytes(400 * 256)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.checkBatch(batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
