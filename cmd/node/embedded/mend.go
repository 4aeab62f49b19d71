package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Names in a data directory, as the broker chose them.
const (
	partitionsName = "partitions"
	orphansName    = "orphans" // ours: partitions that no topic claims
	topicsName     = "topics.json"
	groupsName     = "groups.log"
	producersName  = "pids.log"
	windowsName    = "seq_windows.json"
)

// diskVersion is the version of the broker's files that is mended here.
const diskVersion = 1

// mend puts a directory that was not closed into the state that a closed one
// has, which the broker then loads as it is. It reports whether there was
// anything to mend. The broker's own way after a crash would read all data
// into memory at once, forget which batch of which producer came last (a retry
// makes a duplicate), and append behind a torn line of its logs, which then
// hides everything after it at the next start.
//
// The mark of a closed directory is the file of sequence windows: Close writes
// it last, and [markRunning] deletes it.
func mend(dir string, log *slog.Logger) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, topicsName)); os.IsNotExist(err) {
		return false, nil
	}
	for _, name := range []string{groupsName, producersName} {
		if err := cutTail(filepath.Join(dir, name), log); err != nil {
			return false, err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, windowsName)); err == nil {
		return false, nil
	}
	if err := setOrphansAside(dir, log); err != nil {
		return true, err
	}
	producers := make(producers)
	if err := mendPartitions(dir, producers); err != nil {
		return true, err
	}
	return true, producers.save(dir)
}

// markRunning makes the next start mend, unless Close comes first.
func markRunning(dir string) error {
	if err := os.Remove(filepath.Join(dir, windowsName)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return syncDir(dir)
}

// logHeader is what stands before an entry of the broker's logs, little
// endian: the length of what follows the checksum (4 bytes), the checksum (4),
// the version (2).
const logHeader = 10

// cutTail cuts a torn last entry off a log.
func cutTail(path string, log *slog.Logger) error {
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	good := 0
	for {
		rest := raw[good:]
		if len(rest) < logHeader {
			break
		}
		n := int64(binary.LittleEndian.Uint32(rest))
		if n < 2 || n > int64(len(rest)-8) || crc32.Checksum(rest[8:8+n], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			break
		}
		good += 8 + int(n)
	}
	if good == len(raw) {
		return nil
	}
	log.Warn("cut a torn tail off a log of the embedded broker", "file", path, "bytes", len(raw)-good)
	return os.Truncate(path, int64(good))
}

func appendLogEntry(b []byte, entry any) ([]byte, error) {
	data, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	at := len(b)
	b = append(b, make([]byte, logHeader)...)
	b = append(b, data...)
	binary.LittleEndian.PutUint16(b[at+8:], diskVersion)
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:], castagnoli))
	binary.LittleEndian.PutUint32(b[at:], uint32(2+len(data)))
	return b, nil
}

// setOrphansAside moves the partitions of unknown topics out of the way (a
// crash while a topic was being deleted or made): a topic made anew under the
// name would append to the old files.
func setOrphansAside(dir string, log *slog.Logger) error {
	known, err := topicNames(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(dir, partitionsName))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		topic, p, ok := partitionOf(e.Name())
		if ok && int(p) < known[topic] {
			continue
		}
		if err := os.MkdirAll(filepath.Join(dir, orphansName), 0o755); err != nil {
			return err
		}
		to := filepath.Join(dir, orphansName, fmt.Sprintf("%s.%d", e.Name(), time.Now().UnixNano()))
		log.Warn("no topic claims a partition on disk; moved it aside", "partition", e.Name(), "to", to)
		if err := os.Rename(filepath.Join(dir, partitionsName, e.Name()), to); err != nil {
			return err
		}
	}
	return nil
}

// topicNames reads the partition counts of all topics.
func topicNames(dir string) (map[string]int, error) {
	raw, err := os.ReadFile(filepath.Join(dir, topicsName))
	if err != nil {
		return nil, err
	}
	var list struct {
		Version int `json:"version"`
		Topics  []struct {
			Name       string `json:"name"`
			Partitions int    `json:"partitions"`
		} `json:"topics"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", topicsName, err)
	}
	if list.Version != diskVersion {
		return nil, fmt.Errorf("%s has version %d, this release knows %d", topicsName, list.Version, diskVersion)
	}
	counts := make(map[string]int)
	for _, t := range list.Topics {
		counts[t.Name] = t.Partitions
	}
	return counts, nil
}

func mendPartitions(dir string, producers producers) error {
	entries, err := os.ReadDir(filepath.Join(dir, partitionsName))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		topic, p, ok := partitionOf(e.Name())
		if !ok {
			continue
		}
		at := filepath.Join(dir, partitionsName, e.Name())
		last, err := mendPartition(at)
		if err != nil {
			return fmt.Errorf("partition %s-%d: %w", topic, p, err)
		}
		producers.saw(topic, p, last)
	}
	return nil
}

// snapshot is what the broker notes about a partition when it closes.
type snapshot struct {
	Version          int           `json:"version"`
	HighWatermark    int64         `json:"high_watermark"`
	LastStableOffset int64         `json:"last_stable_offset"`
	LogStartOffset   int64         `json:"log_start_offset"`
	Epoch            int32         `json:"epoch"`
	CreatedAt        time.Time     `json:"created_at"`
	Segments         []snapSegment `json:"segments"`
}

type snapSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
}

// mendPartition cuts a torn tail off the newest file and writes the snapshot.
// It returns the batches of the two newest files, which is as far back as a
// producer's retry reaches.
func mendPartition(dir string) ([]batch, error) {
	segs, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	var last []batch
	for len(segs) > 0 { // a file that was begun and has nothing good in it goes
		s := &segs[len(segs)-1]
		if last, err = s.read(); err != nil {
			return nil, err
		}
		if len(last) > 0 {
			break
		}
		if err := s.remove(); err != nil {
			return nil, err
		}
		segs = segs[:len(segs)-1]
	}
	if len(segs) == 0 {
		err := os.Remove(filepath.Join(dir, snapshotName))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	newest := last[len(last)-1]
	snap := snapshot{
		Version: diskVersion, HighWatermark: newest.end(), LastStableOffset: newest.end(),
		LogStartOffset: segs[0].base, Epoch: newest.leaderEpoch, CreatedAt: segs[0].info.ModTime(),
	}
	for _, s := range segs {
		snap.Segments = append(snap.Segments, snapSegment{s.base, s.info.Size()})
	}
	if len(segs) > 1 {
		before, err := segs[len(segs)-2].peek()
		if err != nil {
			return nil, err
		}
		last = append(before, last...)
	}
	return last, writeJSON(filepath.Join(dir, snapshotName), snap)
}

// peek parses a file that is not the newest, and changes nothing.
func (s *segment) peek() ([]batch, error) {
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	batches, _ := parseBatches(raw)
	return batches, nil
}

// writeJSON replaces a file, whole or not at all.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return replaceFile(path, data)
}

func replaceFile(path string, data []byte) error {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
