package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// instanceID of all the load's requests.
const instanceID = "bench_APP1"

// workload is a sequence of requests that is a function of its fields: every
// run, and the checker, can make it again.
type workload struct {
	Requests   int     // in all, repeats included
	Bytes      int     // of an encoded request; the payload fills up
	Tokens     int     // link tokens, drawn evenly
	Businesses int     // drawn evenly
	Duplicates float64 // share of requests that repeat an earlier one, byte for byte
	Partitions int32
	Seed       uint64
}

func (w *workload) validate() error {
	switch {
	case w.Requests < 1 || w.Requests > 100_000_000:
		return fmt.Errorf("%d requests: use 1 to 100,000,000", w.Requests)
	case w.Bytes < 128 || w.Bytes > 4096:
		return fmt.Errorf("requests of %d bytes: use 128 to 4096", w.Bytes)
	case w.Tokens < 1 || w.Businesses < 1 || w.Businesses > 26:
		return fmt.Errorf("%d link tokens, %d businesses: use at least one of each and at most 26 businesses", w.Tokens, w.Businesses)
	case w.Duplicates < 0 || w.Duplicates >= 1:
		return fmt.Errorf("share of duplicates %v: use 0 to below 1", w.Duplicates)
	case w.Partitions < 1 || w.Partitions > 256:
		return fmt.Errorf("%d partitions: use 1 to 256", w.Partitions)
	}
	return nil
}

// item is one request of the sequence.
type item struct {
	unique    int  // which request it is; repeats share the number
	repeat    bool // not the first with that number
	partition int32
	key       string
	value     []byte // valid until the next item
}

// each gives the sequence in order until yield says no.
func (w *workload) each(yield func(item) bool) {
	rng := rand.New(rand.NewPCG(w.Seed, 0))
	var value []byte
	next := 0
	for range w.Requests {
		it := item{unique: next}
		if next > 0 && rng.Float64() < w.Duplicates {
			it.unique, it.repeat = rng.IntN(next), true
		} else {
			next++
		}
		it.key, value = w.encode(value[:0], it.unique)
		it.value, it.partition = value, topology.Partition(it.key, w.Partitions)
		if !yield(it) {
			return
		}
	}
}

// business and token of a unique request.
func (w *workload) target(rng *rand.Rand) (biz, token int) {
	return rng.IntN(w.Businesses), rng.IntN(w.Tokens)
}

func (w *workload) rng(unique int) *rand.Rand {
	return rand.New(rand.NewPCG(w.Seed, uint64(unique)+1))
}

// encode appends the request with the number and gives its key.
func (w *workload) encode(b []byte, unique int) (key string, value []byte) {
	rng := w.rng(unique)
	biz, token := w.target(rng)
	r := schemas.Request{
		InstanceID: instanceID,
		BizType:    bizType(biz),
		LinkToken:  "user-" + padded(token, 9),
		ThirdMsgID: "msg-" + padded(unique, 12),
	}
	from := len(b)
	b = r.AppendProto(b)
	r.Payload = fill(rng, payloadLen(w.Bytes-(len(b)-from)))
	return r.LinkToken, r.AppendProto(b[:from])
}

func bizType(n int) string { return "BIZ_" + string(rune('A'+n)) }

// padded prints n with leading zeros.
func padded(n, width int) string {
	s := strconv.Itoa(n)
	for len(s) < width {
		s = "0" + s
	}
	return s
}

// payloadLen is how long a payload must be to take up room bytes with its tag
// and its length, which takes a second byte from 128 on.
func payloadLen(room int) int {
	n := room - 2
	if n > 127 {
		n--
	}
	return n
}

// alphabet of payloads: six random bits a byte, so that compression finds
// little, as in the encrypted or encoded payloads of real senders.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func fill(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	var bits uint64
	for i := range b {
		if i%10 == 0 {
			bits = rng.Uint64()
		}
		b[i] = alphabet[bits&63]
		bits >>= 6
	}
	return string(b)
}

// uniqueOf reads the number back from a thirdMsgId; -1 if it is none of ours.
func uniqueOf(thirdMsgID []byte) int {
	if len(thirdMsgID) != 16 || string(thirdMsgID[:4]) != "msg-" {
		return -1
	}
	n, err := strconv.Atoi(string(thirdMsgID[4:]))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// expectation is what a right program makes of the workload.
type expectation struct {
	unique  int     // requests that are no repeats
	ids     []int32 // by unique number: the oplog id that it must get
	perPart []int64 // requests by partition, repeats included
	digests []digest
}

// expect goes through the workload once.
func (w *workload) expect() *expectation {
	e := &expectation{perPart: make([]int64, w.Partitions), digests: make([]digest, w.Partitions)}
	last := make(map[[2]int]int32)
	w.each(func(it item) bool {
		e.perPart[it.partition]++
		e.digests[it.partition].add(it.value)
		if !it.repeat {
			biz, token := w.target(w.rng(it.unique))
			last[[2]int{biz, token}]++
			e.ids = append(e.ids, last[[2]int{biz, token}])
			e.unique++
		}
		return true
	})
	return e
}

// digest is a rolling hash of a sequence of values: two sequences are the same
// if theirs are.
type digest struct{ sum uint64 }

func (d *digest) add(value []byte) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], d.sum)
	d.sum = xxh3.HashSeed(value, xxh3.Hash(b[:]))
}
