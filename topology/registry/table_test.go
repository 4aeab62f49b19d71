package registry

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestQueueAgainstSlice: the queue against a slice that is copied each time,
// with old versions checked for having stayed as they were.
func TestQueueAgainstSlice(t *testing.T) {
	type version struct {
		q    queue[int]
		want []int
	}
	list := func(q queue[int]) []int {
		all := []int{}
		for _, v := range q.items() {
			all = append(all, *v)
		}
		return all
	}
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1000).Draw(t, "start")
		versions := []version{{queue[int]{first: start, next: start}, []int{}}}
		value := 0
		for range 30 {
			v := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "from")] // any earlier one: histories may fork
			switch rapid.IntRange(0, 2).Draw(t, "do") {
			case 0, 1:
				var items []*int
				v.want = slices.Clone(v.want)
				for range rapid.SampledFrom([]int{0, 1, 2, queueChunk - 1, queueChunk, queueChunk + 1, 700}).Draw(t, "count") {
					value++
					n := value
					items, v.want = append(items, &n), append(v.want, n)
				}
				v.q = v.q.push(items...)
			case 2:
				n := rapid.IntRange(-5, len(v.want)+5).Draw(t, "drop")
				v.q = v.q.dropTo(v.q.first + int64(n))
				v.want = v.want[min(max(n, 0), len(v.want)):]
			}
			versions = append(versions, v)
		}
		for i, v := range versions {
			if got := list(v.q); !slices.Equal(got, v.want) || v.q.len() != len(v.want) {
				t.Fatalf("version %d: %d items of %d", i, len(got), len(v.want))
			}
			if len(v.want) > 0 && *v.q.at(v.q.next - 1) != v.want[len(v.want)-1] {
				t.Fatalf("version %d: the newest item is another", i)
			}
		}
	})
}

func TestTableIsPersistentAndOrdered(t *testing.T) {
	var empty table[string]
	a, b := "1", "2"
	one := empty.put("x\x00b", &a).put("x\x00a", &b).put("y\x00a", &a)
	two := one.drop("x\x00a").put("x\x00b", &b)
	var under []string
	for v := range one.under("x\x00") {
		under = append(under, *v)
	}
	if !slices.Equal(under, []string{"2", "1"}) || empty.len() != 0 || one.len() != 3 || two.len() != 2 || *one.get("x\x00b") != "1" || two.get("x\x00a") != nil {
		t.Errorf("under x: %v; %d, %d, %d", under, empty.len(), one.len(), two.len())
	}
}
