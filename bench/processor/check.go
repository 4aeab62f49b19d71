package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/encoding/protowire"
)

// checker reads an output topic and says at the end whether it is right.
// Records come partition by partition in offset order; partitions may interleave.
type checker interface {
	record(partition int32, value []byte) error
	// finish gives a line about what was found, or what is wrong.
	finish() (string, error)
}

// copyCheck wants every request once, in order, unchanged.
type copyCheck struct {
	want    *expectation
	digests []digest
	count   []int64
}

func newCopyCheck(want *expectation) *copyCheck {
	return &copyCheck{want, make([]digest, len(want.digests)), make([]int64, len(want.digests))}
}

func (c *copyCheck) record(partition int32, value []byte) error {
	c.count[partition]++
	c.digests[partition].add(value)
	return nil
}

func (c *copyCheck) finish() (string, error) {
	var all int64
	for p, n := range c.count {
		all += n
		if want := c.want.perPart[p]; n != want {
			return "", fmt.Errorf("partition %d of the output holds %d records, want %d", p, n, want)
		}
		if c.digests[p] != c.want.digests[p] {
			return "", fmt.Errorf("partition %d of the output holds the right number of records, but not the same or not in order", p)
		}
	}
	return fmt.Sprintf("%d copies, same bytes, same order", all), nil
}

// countCheck wants a number of records and does not look into them.
type countCheck struct{ want, found int64 }

func (c *countCheck) record(int32, []byte) error {
	c.found++
	return nil
}

func (c *countCheck) finish() (string, error) {
	if c.found != c.want {
		return "", fmt.Errorf("%d records, want %d", c.found, c.want)
	}
	return fmt.Sprintf("%d records", c.found), nil
}

// entryCheck wants one entry per unique request, with the id that a dumb count
// gives it, ids of a target in order, and the request's bytes at the entry's
// start (the two messages share their first fields). It shares no code with
// what wrote the entries.
type entryCheck struct {
	w     *workload
	want  *expectation
	chain bool // by the reader's rule; otherwise every record counts

	parts     []partCheck
	seen      []bool
	last      map[target]int64
	found     int
	repeats   int
	orphans   int
	markers   int
	requested []byte // scratch
}

type target struct{ biz, token int }

// partCheck is a reader's place in one partition.
type partCheck struct {
	position int64
	chain    [16]byte
}

func newEntryCheck(w *workload, want *expectation, chain bool) *entryCheck {
	c := &entryCheck{w: w, want: want, chain: chain, parts: make([]partCheck, w.Partitions), seen: make([]bool, want.unique), last: make(map[target]int64)}
	for i := range c.parts {
		c.parts[i].position = -1
	}
	return c
}

func (c *entryCheck) record(partition int32, value []byte) error {
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	if c.chain {
		accepted, err := c.accept(&c.parts[partition], &e, value)
		if !accepted || err != nil {
			return err
		}
	}
	n := uniqueOf(e.thirdMsgID)
	if n < 0 || n >= c.want.unique {
		return fmt.Errorf("an entry nobody asked for: thirdMsgId %q", e.thirdMsgID)
	}
	if c.seen[n] {
		return fmt.Errorf("request %d has a second entry, id %d", n, e.id)
	}
	c.seen[n] = true
	c.found++
	if want := int64(c.want.ids[n]); e.id != want {
		return fmt.Errorf("request %d got id %d, want %d", n, e.id, want)
	}
	return c.compare(n, &e, value)
}

// compare looks at the order within the target and at the content.
func (c *entryCheck) compare(n int, e *entryFields, value []byte) error {
	biz, token := c.w.target(c.w.rng(n))
	t := target{biz, token}
	if e.id != c.last[t]+1 {
		return fmt.Errorf("business %s, link token %d: id %d follows %d", bizType(biz), token, e.id, c.last[t])
	}
	c.last[t] = e.id
	_, c.requested = c.w.encode(c.requested[:0], n)
	if !bytes.HasPrefix(value, c.requested) {
		return fmt.Errorf("entry of request %d does not hold what was requested", n)
	}
	return nil
}

// accept is the reader's rule.
func (c *entryCheck) accept(p *partCheck, e *entryFields, value []byte) (bool, error) {
	switch {
	case e.id == 0:
		c.markers++
		return false, nil
	case e.prev < p.position:
		c.repeats++
		return false, nil
	case e.prev > p.position:
		c.orphans++
		return false, nil
	}
	const suffix = 3 + 16
	if len(e.chain) != 16 || !bytes.HasSuffix(value, e.chain) {
		return false, errors.New("entry does not end with a chain of 16 bytes")
	}
	sum := xxh3.Hash128(append(p.chain[:], value[:len(value)-suffix]...))
	binary.BigEndian.PutUint64(p.chain[:8], sum.Hi)
	binary.BigEndian.PutUint64(p.chain[8:], sum.Lo)
	if !bytes.Equal(p.chain[:], e.chain) {
		return false, fmt.Errorf("entry of request offset %d breaks the chain", e.requestOffset)
	}
	p.position = e.requestOffset
	return true, nil
}

func (c *entryCheck) finish() (string, error) {
	if c.found != c.want.unique {
		return "", fmt.Errorf("%d entries, want %d: the first missing is of request %d", c.found, c.want.unique, c.firstMissing())
	}
	line := fmt.Sprintf("%d entries for %d requests, ids gapless over %d targets, content as requested", c.found, c.w.Requests, len(c.last))
	if c.chain {
		line += fmt.Sprintf("; chain whole, %d markers, %d repeats, %d orphans", c.markers, c.repeats, c.orphans)
	}
	return line, nil
}

func (c *entryCheck) firstMissing() int {
	for n, seen := range c.seen {
		if !seen {
			return n
		}
	}
	return -1
}

// entryFields are what the check needs of an OplogEntry.
type entryFields struct {
	thirdMsgID              []byte
	id, requestOffset, prev int64
	chain                   []byte
}

// decodeEntry reads an OplogEntry with nothing but the wire format.
func decodeEntry(b []byte) (entryFields, error) {
	var e entryFields
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return e, fmt.Errorf("entry is no protobuf: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var data []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return e, fmt.Errorf("entry is no protobuf: field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		switch num {
		case 4:
			e.thirdMsgID = data
		case 12:
			e.id = int64(number)
		case 13:
			e.requestOffset = int64(number)
		case 14:
			e.prev = int64(number)
		case 30:
			e.chain = data
		}
	}
	return e, nil
}
