package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// TestStoreAgainstMemory: the log on disk against Raft's log in memory, with
// what Raft does to a log: append, drop its end, drop its front, begin anew
// behind a hole; and a restart at any time.
func TestStoreAgainstMemory(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		open := func() *logStore {
			s, err := openLogStore(path)
			if err != nil {
				t.Fatal(err)
			}
			s.db.NoSync = true // nobody pulls the plug here
			return s
		}
		disk := open()
		defer func() { disk.Close() }()
		memory := map[uint64]raft.Log{}
		first, last := uint64(0), uint64(0)
		for range 12 {
			switch rapid.IntRange(0, 4).Draw(t, "do") {
			case 0, 1:
				var logs []*raft.Log
				for range rapid.IntRange(1, 300).Draw(t, "count") {
					last++
					if first == 0 {
						first = last
					}
					l := raft.Log{Index: last, Term: last / 7, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(last)}, int(last%500)), AppendedAt: time.Unix(0, int64(last))}
					memory[last] = l
					logs = append(logs, &l)
				}
				if err := disk.StoreLogs(logs); err != nil {
					t.Fatal(err)
				}
			case 2, 3:
				if first == 0 {
					continue
				}
				cut := rapid.Uint64Range(first, last).Draw(t, "cut")
				from, to := first, cut // the front
				if rapid.Bool().Draw(t, "end") {
					from, to = cut, last
				}
				if err := disk.DeleteRange(from, to); err != nil {
					t.Fatal(err)
				}
				for i := from; i <= to; i++ {
					delete(memory, i)
				}
				switch {
				case from == first && to == last:
					first = 0
					last += rapid.Uint64Range(0, 50).Draw(t, "hole") // as after a snapshot
				case from == first:
					first = to + 1
				default:
					last = from - 1
				}
			case 4:
				if err := disk.Close(); err != nil {
					t.Fatal(err)
				}
				disk = open()
			}
			compareStore(t, disk, memory, first, last)
		}
	})
}

func compareStore(t *rapid.T, disk *logStore, memory map[uint64]raft.Log, first, last uint64) {
	if len(memory) == 0 {
		first, last = 0, 0
	}
	gotFirst, err1 := disk.FirstIndex()
	gotLast, err2 := disk.LastIndex()
	if err := errors.Join(err1, err2); err != nil || gotFirst != first || gotLast != last {
		t.Fatalf("the log goes from %d to %d (%v), want %d to %d", gotFirst, gotLast, err, first, last)
	}
	for i := first; i <= last && first > 0; i++ {
		var got raft.Log
		want := memory[i]
		if err := disk.GetLog(i, &got); err != nil || got.Term != want.Term || !slices.Equal(got.Data, want.Data) || !got.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("entry %d is %+v, %v", i, got, err)
		}
	}
	if err := disk.GetLog(last+1, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Fatalf("behind the last entry there is %v", err)
	}
}

func TestStableValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := openLogStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetUint64([]byte("term")); err == nil || err.Error() != "not found" {
		t.Errorf("Raft would not take %v for a missing value", err)
	}
	if err := errors.Join(s.SetUint64([]byte("term"), 7), s.Set([]byte("vote"), []byte("n1")), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = openLogStore(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	term, err := s.GetUint64([]byte("term"))
	vote, err2 := s.Get([]byte("vote"))
	if term != 7 || string(vote) != "n1" || err != nil || err2 != nil {
		t.Errorf("term %d, vote %q, %v, %v", term, vote, err, err2)
	}
	if _, err := openLogStore(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("two owners of one log: %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(encodeEntry(&raft.Log{Index: 1, Term: 2, Data: []byte("x"), Extensions: []byte("y"), AppendedAt: time.Unix(1, 2)}))
	f.Add([]byte{entryVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l, again raft.Log
		if decodeEntry(b, &l) != nil {
			return
		}
		if err := decodeEntry(encodeEntry(&l), &again); err != nil || again.Index != l.Index || !bytes.Equal(again.Data, l.Data) {
			t.Errorf("%+v becomes %+v, %v", l, again, err)
		}
	})
}

// BenchmarkStoreLog is the cost of one entry on disk, fsync included.
func BenchmarkStoreLog(b *testing.B) {
	s, err := openLogStore(filepath.Join(b.TempDir(), "log.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l := raft.Log{Data: make([]byte, 300)}
	for b.Loop() {
		l.Index++
		if err := s.StoreLog(&l); err != nil {
			b.Fatal(err)
		}
	}
}
