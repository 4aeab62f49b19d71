package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// MaxBatchBytes bounds what one compressed batch may decompress to. Kafka's
// clients fill batches by their uncompressed size, 1 MiB by default.
const MaxBatchBytes = 64 << 20

// Kafka's codec numbers.
const (
	codecGzip   = 1
	codecSnappy = 2
	codecLZ4    = 3
	codecZstd   = 4
)

var errTooLarge = errors.New("a batch decompresses to more than is allowed")

// inflater holds what decompression needs between uses.
type inflater struct {
	limit int
	src   bytes.Reader
	dst   bytes.Buffer
	gzip  gzip.Reader
	lz4   *lz4.Reader
	zstd  *zstd.Decoder
}

// codecs lends inflaters, as many at one time as there are processors. One
// guard has its own: a zstd decoder holds channels, which must not be shared
// between the bubbles of testing/synctest.
type codecs struct {
	slots chan struct{}
	pool  sync.Pool
}

func newCodecs(limit int) *codecs {
	return &codecs{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), pool: sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(limit)))
		if err != nil {
			panic(err) // fixed options
		}
		return &inflater{limit: limit, lz4: lz4.NewReader(nil), zstd: d}
	}}}
}

// keepInflated is how large a buffer may be to be kept for the next batch.
const keepInflated = 4 << 20

// check decompresses a batch's records and walks them.
func (c *codecs) check(codec uint16, b []byte, count int32) error {
	if codec > codecZstd {
		return nil // the broker refuses it
	}
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	d := c.pool.Get().(*inflater)
	out, err := d.inflate(codec, b)
	if err == nil {
		err = checkRecords(out, count)
	} else if !errors.Is(err, errTooLarge) {
		err = fmt.Errorf("decompress batch: %w", err)
	}
	if d.dst.Cap() > keepInflated {
		d.dst = bytes.Buffer{}
	}
	c.pool.Put(d)
	return err
}

// inflate decompresses b; the result is good until the next call.
func (d *inflater) inflate(codec uint16, b []byte) ([]byte, error) {
	d.dst.Reset()
	switch codec {
	case codecGzip:
		d.src.Reset(b)
		if err := d.gzip.Reset(&d.src); err != nil {
			return nil, err
		}
		return d.stream(&d.gzip)
	case codecLZ4:
		d.src.Reset(b)
		d.lz4.Reset(&d.src)
		return d.stream(d.lz4)
	case codecZstd:
		out, err := d.zstd.DecodeAll(b, d.dst.AvailableBuffer())
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || len(out) > d.limit {
			return nil, errTooLarge
		}
		if cap(out) > d.dst.Cap() {
			d.dst = *bytes.NewBuffer(out[:0])
		}
		return out, err
	}
	return d.snappy(b)
}

func (d *inflater) stream(r io.Reader) ([]byte, error) {
	n, err := d.dst.ReadFrom(io.LimitReader(r, int64(d.limit)+1))
	if n > int64(d.limit) {
		return nil, errTooLarge
	}
	return d.dst.Bytes(), err
}

// xerial is how the framing of Java's snappy streams starts; two versions of
// four bytes follow it.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

func (d *inflater) snappy(b []byte) ([]byte, error) {
	if len(b) <= xerialHeader || !bytes.HasPrefix(b, xerial) {
		return d.block(b)
	}
	for b = b[xerialHeader:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int64(binary.BigEndian.Uint32(b))
		if n > int64(len(b)-4) {
			return nil, io.ErrUnexpectedEOF
		}
		if _, err := d.block(b[4 : 4+n]); err != nil {
			return nil, err
		}
		b = b[4+n:]
	}
	return d.dst.Bytes(), nil
}

// block decompresses one snappy block behind what is there already.
func (d *inflater) block(b []byte) ([]byte, error) {
	n, err := s2.DecodedLen(b)
	if err != nil {
		return nil, err
	}
	if n > d.limit-d.dst.Len() {
		return nil, errTooLarge
	}
	d.dst.Grow(n)
	out, err := s2.Decode(d.dst.AvailableBuffer()[:n], b)
	if err != nil {
		return nil, err
	}
	d.dst.Write(out)
	return d.dst.Bytes(), nil
}
