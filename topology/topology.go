package topology

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Defaults of a [Config].
const (
	DefaultPrefix     = "tidemark."
	DefaultPartitions = 8
	MaxPartitions     = 4096
	DefaultWindow     = 30 * 24 * time.Hour
)

// Config is what a topology is made of. The zero value is usable.
type Config struct {
	// Prefix of all topic names; default "tidemark.". Not part of the hash:
	// the same data may live under another name.
	Prefix string
	// Partitions of every partitioned topic; default 8. Frozen: a key's
	// partition depends on it.
	Partitions int32
	// Window is how long a thirdMsgId is remembered and an oplog kept;
	// default 30 days. Frozen: decisions depend on it.
	Window time.Duration
	// Buckets that the window is cut into for expiry; default 2, so a key
	// lives for one to one and a half windows. Frozen like the window.
	Buckets int
}

// Cleanup is a topic's cleanup policy.
type Cleanup string

// The cleanup policies.
const (
	Delete        Cleanup = "delete"
	Compact       Cleanup = "compact"
	CompactDelete Cleanup = "compact,delete"
)

// Topic is one topic of the map.
type Topic struct {
	Name       string        `json:"name"` // with prefix
	Key        string        `json:"key"`
	Cleanup    Cleanup       `json:"cleanup"`
	Retention  time.Duration `json:"retention"` // 0: for ever
	Partitions int32         `json:"partitions"`
	Format     string        `json:"format"`
	WrittenBy  string        `json:"writtenBy"`
	ReadBy     string        `json:"readBy"`
	Public     bool          `json:"public"` // plain protobuf, for everybody
}

// Store is a local store and the topic that it can be rebuilt from.
type Store struct {
	Name      string   `json:"name"`
	Owner     string   `json:"owner"`
	Holds     string   `json:"holds"`
	Changelog []string `json:"changelog"`
}

// Topology is the whole map. Make it with [New]; it does not change.
type Topology struct {
	cfg Config

	Prefix     string // of every topic's name
	Requests   Topic
	Oplog      Topic
	Broadcast  Topic
	Results    Topic
	Rejects    Topic
	Counters   Topic
	Acks       Topic
	Presence   Topic
	Partitions int32
	Window     time.Duration
	Bucket     time.Duration // width of a dedupe bucket
}

// New draws the map.
func New(cfg Config) (*Topology, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = DefaultPartitions
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Buckets == 0 {
		cfg.Buckets = 2
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	t := &Topology{cfg: cfg, Prefix: cfg.Prefix, Partitions: cfg.Partitions, Window: cfg.Window, Bucket: cfg.Window / time.Duration(cfg.Buckets)}
	kept := cfg.Window + t.Bucket // the oplog rebuilds the dedupe keys, so it outlives them
	topic := func(name, key string, c Cleanup, keep time.Duration, format, by, to string, public bool) Topic {
		return Topic{cfg.Prefix + name, key, c, keep, cfg.Partitions, format, by, to, public}
	}
	const byKey = "linkToken (global: instanceId/bizType)"
	t.Requests = topic("requests", byKey, Delete, 7*24*time.Hour, "SyncRequest, protobuf or JSON", "producers, ingress, registry", "sync tasks", true)
	t.Oplog = topic("oplog", byKey, Delete, kept, "OplogEntry", "sync tasks", "edges, restore, standbys, data teams", true)
	t.Broadcast = topic("broadcast", "instanceId/bizType", Delete, kept, "OplogEntry", "sync tasks", "every edge", true)
	t.Results = topic("results", "none: the partition that the request names", Delete, time.Hour, "SyncResult", "sync tasks", "ingress, producers", true)
	t.Rejects = topic("rejects", byKey, Delete, 7*24*time.Hour, "SyncResult", "sync tasks", "producers, operators", true)
	t.Counters = topic("changelog.counters", "instance, business, linkToken", Compact, 0, "Checkpoint", "sync tasks", "restore", false)
	t.Acks = topic("acks", "instance, business, target, device", Compact, 0, "Ack", "edges", "edges", false)
	t.Presence = topic("presence", "edge, session, target", CompactDelete, time.Hour, "Presence", "edges", "sync tasks (result code only)", false)
	return t, nil
}

func (c *Config) validate() error {
	switch {
	case c.Partitions < 1 || c.Partitions > MaxPartitions:
		return fmt.Errorf("%d partitions: use 1 to %d", c.Partitions, MaxPartitions)
	case c.Window < time.Minute:
		return fmt.Errorf("dedupe window %s: at least a minute", c.Window)
	case c.Buckets < 1 || c.Buckets > 64:
		return fmt.Errorf("%d dedupe buckets: use 1 to 64", c.Buckets)
	case len(c.Prefix) > 100 || strings.Trim(c.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "":
		return fmt.Errorf("topic prefix %q: up to 100 of a-z, A-Z, 0-9, '.', '_', '-'", c.Prefix)
	}
	return nil
}

// Topics lists every topic.
func (t *Topology) Topics() []Topic {
	return []Topic{t.Requests, t.Oplog, t.Broadcast, t.Results, t.Rejects, t.Counters, t.Acks, t.Presence}
}

// Stores lists the local stores.
func (t *Topology) Stores() []Store {
	return []Store{
		{"task", "processor, one per requests partition", "dedupe keys, counters, settings, position",
			[]string{t.Counters.Name, t.Oplog.Name}},
		{"view", "edge, one per oplog partition", "entries by target and business, sync points, statistics, position",
			[]string{t.Oplog.Name, t.Acks.Name}},
		{"global", "edge, one", "global entries by business, position",
			[]string{t.Broadcast.Name}},
	}
}

// Of is the partition of a record key.
func (t *Topology) Of(key string) int32 { return Partition(key, t.Partitions) }

// frozen is what cannot change once data exists. Its JSON form is canonical:
// the order of fields is that of the struct.
type frozen struct {
	Partitions    int32  `json:"partitions"`
	KeyHash       string `json:"keyHash"`
	DedupeHash    string `json:"dedupeHash"`
	ChainHash     string `json:"chainHash"`
	WindowMillis  int64  `json:"windowMillis"`
	DedupeBuckets int    `json:"dedupeBuckets"`
	RecordVersion int    `json:"recordVersion"`
	StoreVersion  int    `json:"storeVersion"`
}

// Frozen is the canonical JSON of all that cannot change.
func (t *Topology) Frozen() []byte {
	b, err := json.Marshal(frozen{
		Partitions: t.Partitions, KeyHash: "murmur2", DedupeHash: "xxh3-128", ChainHash: "xxh3-128",
		WindowMillis: t.Window.Milliseconds(), DedupeBuckets: t.cfg.Buckets, RecordVersion: 1, StoreVersion: 1,
	})
	if err != nil {
		panic(err) // a struct of numbers and strings
	}
	return b
}

// Hash names the frozen part.
func (t *Topology) Hash() string {
	sum := sha256.Sum256(t.Frozen())
	return hex.EncodeToString(sum[:8])
}

// readNumbers reads JSON and leaves numbers as they are written, for people.
func readNumbers(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(into)
}

// Diff compares the frozen part with one that was kept, and says in words what
// differs; nil if nothing does.
func (t *Topology) Diff(kept []byte) error {
	var was, is map[string]any
	if err := readNumbers(kept, &was); err != nil {
		return fmt.Errorf("read kept topology: %w", err)
	}
	if err := readNumbers(t.Frozen(), &is); err != nil {
		panic(err)
	}
	var errs []error
	for _, name := range []string{
		"partitions", "keyHash", "dedupeHash", "chainHash", "windowMillis", "dedupeBuckets", "recordVersion", "storeVersion",
	} {
		if was[name] != is[name] {
			errs = append(errs, fmt.Errorf("%s is %v here, but the data was made with %v", name, is[name], was[name]))
		}
	}
	return errors.Join(errs...)
}
