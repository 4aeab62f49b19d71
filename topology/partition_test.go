package topology

import (
	"strings"
	"testing"
)

// The values that the Java client's own tests hold murmur2 against
// (org.apache.kafka.common.utils).
func TestMurmur2IsTheJavaClients(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2(key)); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

func TestPartitionIsPositiveAndWithinBounds(t *testing.T) {
	for n := int32(1); n <= MaxPartitions; n = n*3 + 1 {
		for i := range 200 {
			key := strings.Repeat("k", i%9) + string(rune('a'+i%26)) + "é"
			if p := Partition(key, n); p < 0 || p >= n {
				t.Fatalf("%q of %d: %d", key, n, p)
			}
		}
	}
	// toPositive(murmur2(key)) % n, with a negative hash.
	if got, want := Partition("21", 8), int32(((-973932308)&0x7fffffff)%8); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}

func TestPartitionSpreadsKeys(t *testing.T) {
	var count [8]int
	for i := range 80_000 {
		count[Partition("user-"+strings.Repeat("0", i%5)+string(rune(i)), 8)]++
	}
	for p, n := range count {
		if n < 9_000 || n > 11_000 {
			t.Errorf("partition %d has %d of 80,000 keys", p, n)
		}
	}
}

func FuzzPartition(f *testing.F) {
	f.Add("foobar", int32(8))
	f.Fuzz(func(t *testing.T, key string, n int32) {
		if n < 1 {
			return
		}
		if p := Partition(key, n); p < 0 || p >= n {
			t.Fatalf("%q of %d: %d", key, n, p)
		}
	})
}
