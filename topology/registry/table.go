package registry

import (
	"iter"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// table is a persistent map in key order: a change makes a new table that
// shares all else with the old one, so an old model stays whole for as long as
// somebody holds it. The zero table is empty.
type table[T any] struct{ tree *iradix.Tree[*T] }

func (t table[T]) len() int {
	if t.tree == nil {
		return 0
	}
	return t.tree.Len()
}

// get finds a value, or nil. It must not be changed: copy it and put the copy.
func (t table[T]) get(key string) *T {
	if t.tree == nil {
		return nil
	}
	v, _ := t.tree.Get([]byte(key))
	return v
}

func (t table[T]) put(key string, v *T) table[T] {
	if t.tree == nil {
		t.tree = iradix.New[*T]()
	}
	t.tree, _, _ = t.tree.Insert([]byte(key), v)
	return t
}

func (t table[T]) drop(key string) table[T] {
	if t.tree != nil {
		t.tree, _, _ = t.tree.Delete([]byte(key))
	}
	return t
}

// all walks the values in key order.
func (t table[T]) all() iter.Seq[*T] { return t.under("") }

// under walks the values whose key has the prefix, in key order.
func (t table[T]) under(prefix string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		if t.tree == nil {
			return
		}
		it := t.tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if !yield(v) {
				return
			}
		}
	}
}

// queueChunk is how many items share an array of a [queue]; appending copies
// at most one such array and the list of them.
const queueChunk = 256

// queue is a persistent list that grows at its end and is dropped from its
// front. Items are numbered from 0 for ever: item n keeps its number when those
// before it are gone. The zero queue is empty.
type queue[T any] struct {
	first  int64  // number of the oldest item that is kept
	next   int64  // number that the next item gets
	chunks [][]*T // chunk i holds the numbers from (first/queueChunk+i)*queueChunk
}

func (q queue[T]) len() int { return int(q.next - q.first) }

func (q queue[T]) at(n int64) *T {
	return q.chunks[n/queueChunk-q.first/queueChunk][n%queueChunk]
}

func (q queue[T]) push(items ...*T) queue[T] {
	q.chunks = slices.Clone(q.chunks)
	for len(items) > 0 {
		last := len(q.chunks) - 1
		if room := int(q.next % queueChunk); room == 0 || last < 0 {
			// A queue that was emptied in the middle of a chunk starts a new
			// array, whose front is never looked at.
			q.chunks = append(q.chunks, make([]*T, room, queueChunk))
		} else {
			// Another model may have appended to the same array.
			q.chunks[last] = append(make([]*T, 0, queueChunk), q.chunks[last][:room]...)
		}
		last = len(q.chunks) - 1
		n := min(len(items), queueChunk-len(q.chunks[last]))
		q.chunks[last] = append(q.chunks[last], items[:n]...)
		items, q.next = items[n:], q.next+int64(n)
	}
	return q
}

// dropTo drops the items numbered below n.
func (q queue[T]) dropTo(n int64) queue[T] {
	n = min(max(n, q.first), q.next)
	gone := n/queueChunk - q.first/queueChunk
	if n == q.next {
		gone = int64(len(q.chunks))
	}
	q.chunks = slices.Clone(q.chunks[gone:])
	q.first = n
	return q
}

// items walks the items from oldest to newest.
func (q queue[T]) items() iter.Seq2[int64, *T] {
	return func(yield func(int64, *T) bool) {
		for n := q.first; n < q.next; n++ {
			if !yield(n, q.at(n)) {
				return
			}
		}
	}
}
