package embedded

import (
	"math"
	"path/filepath"
)

// windowLen is how many batches of a producer, the newest in a partition, are
// recognized when they come again.
const windowLen = 5

// producers is what the partitions know about idempotent producers, by
// producer id.
type producers map[int64]*producerState

type producerState struct {
	epoch   int16
	windows map[partitionKey]*window
}

type partitionKey struct {
	topic string
	p     int32
}

// window is the broker's memory of one producer in one partition: a ring of
// the newest batches and the sequence number that must come next.
type window struct {
	Producer int64                `json:"pid"`
	Topic    string               `json:"topic"`
	Part     int32                `json:"partition"`
	Entries  [windowLen]seenBatch `json:"entries"`
	Count    uint8                `json:"count"`
	At       uint8                `json:"at"` // where the next entry goes
	Epoch    int16                `json:"epoch"`
	Seen     bool                 `json:"seen"`
	NextSeq  int32                `json:"next_seq"`
}

type seenBatch struct {
	FirstSeq int32 `json:"first_seq"`
	NextSeq  int32 `json:"next_seq"`
	Offset   int64 `json:"offset"`
}

// saw takes a partition's newest batches into account, in order.
func (ps producers) saw(topic string, p int32, batches []batch) {
	for i := range batches {
		b := &batches[i]
		if b.producer < 0 {
			continue
		}
		s := ps[b.producer]
		if s == nil {
			s = &producerState{windows: make(map[partitionKey]*window)}
			ps[b.producer] = s
		}
		s.epoch = max(s.epoch, b.epoch)
		key := partitionKey{topic, p}
		w := s.windows[key]
		if w == nil {
			w = &window{Producer: b.producer, Topic: topic, Part: p}
			s.windows[key] = w
		}
		w.push(b)
	}
}

func (w *window) push(b *batch) {
	if w.Epoch != b.epoch { // the producer began anew
		w.Entries, w.Count, w.At = [windowLen]seenBatch{}, 0, 0
	}
	// Sequence numbers wrap as the broker lets them wrap.
	next := int32((int64(b.sequence) + int64(b.records)) % math.MaxInt32)
	w.Entries[w.At] = seenBatch{b.sequence, next, b.offset}
	w.At = (w.At + 1) % windowLen
	w.Count = min(w.Count+1, windowLen)
	w.Epoch, w.Seen, w.NextSeq = b.epoch, true, next
}

// save writes the two files that the broker keeps about producers. A producer
// that has left no batch is forgotten: the broker takes its first one as it
// comes.
func (ps producers) save(dir string) error {
	type known struct {
		Type     string `json:"type"`
		Producer int64  `json:"pid"`
		Epoch    int16  `json:"epoch"`
	}
	var (
		log     []byte
		windows = []*window{}
		err     error
	)
	for id, s := range ps {
		if log, err = appendLogEntry(log, known{"init", id, s.epoch}); err != nil {
			return err
		}
		for _, w := range s.windows {
			windows = append(windows, w)
		}
	}
	if err := replaceFile(filepath.Join(dir, producersName), log); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, windowsName), struct {
		Version int       `json:"version"`
		Windows []*window `json:"windows"`
	}{diskVersion, windows})
}
