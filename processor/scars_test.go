package processor

import (
	"fmt"
	"testing"
)

// TestScars names the mistakes that other stream processors have made and that
// a task could make too, and plays the story of each. What does not apply: a
// log pinned by an open transaction, since tasks write none and read the oplog
// to its high watermark.
func TestScars(t *testing.T) {
	for _, scar := range []struct{ name, story string }{
		{"crash between commit and apply", "crash_points"},
		{"missing committed offset", "missing_commit"},
		{"end offset inside an aborted tail", "holes"},
		{"quiet store past retention", "quiet_store"},
		{"standby promoted mid-way", "follower"},
		{"silent generation bump", "zombie"}, // an owner that does not know that it is none
		{"stale owner flush", "zombie"},
		{"records behind a failed one", "failed_append"},
	} {
		t.Run(scar.name, func(t *testing.T) { playTranscript(t, "testdata/"+scar.story+".txt") })
	}
}

// Ids were given twice after a rebalance when the store of the next owner was
// older than the log (KAFKA-14172).
func TestIDsAfterRebalance(t *testing.T) {
	w := newWorld(t)
	stores := []*Memory{NewMemory(), NewMemory(), NewMemory()}
	var want []string
	for i := range 30 {
		w.push("A", "u", fmt.Sprint("m", i))
		want = append(want, fmt.Sprintf("A/u/m%d#%d=p-m%d", i, i+1, i))
		task := w.start(stores[i*i%len(stores)])
		w.feed(task)
		w.perform(task)
		if i%2 == 0 {
			w.apply(task)
		}
	}
	equal(t, "log", w.accepted(), want...)
}

// A task that is nobody's owner any more still writes its store; it must not
// write what no reader has accepted.
func TestStaleOwnerFlush(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m1")
	store := NewMemory()
	stale := w.start(store)
	w.feed(stale)
	out := append([]Output{}, stale.Take()...)
	owner := w.start(NewMemory())
	w.push("A", "u", "m2")
	w.feed(owner)
	w.perform(owner)
	w.apply(stale)
	if at := store.Position(); at.Entry != -1 || at.Request != 0 {
		t.Errorf("store stands at %+v: nothing of the stale owner was acknowledged", at)
	}
	w.write(stale, out)
	w.perform(stale)
	w.apply(stale)
	if at := store.Position(); at.Entry != 1 || at.OplogOffset != -1 || stale.Alone() {
		t.Errorf("store stands at %+v, alone %t", at, stale.Alone())
	}
	equal(t, "log", w.accepted(), "A/u/m1#1=p-m1", "A/u/m2#2=p-m2")
}
