package guard

import "github.com/twmb/franz-go/pkg/kversion"

// API keys that need more than a walk.
const (
	keyProduce     = 0
	keyFetch       = 1
	keyApiVersions = 18
)

// shape is one kind of request: the versions that we let through, and how its
// body is laid out in each of them.
type shape struct {
	key      int16
	name     string
	min, max int16
	flexible int16 // compact lengths and tags from this version on; -1: never
	// knownTags is how many tags of the outermost struct the broker
	// interprets; clients have no business with them.
	knownTags uint32
	body      []field
}

type kind uint8

const (
	kindFixed  kind = iota // size bytes
	kindString             // 16-bit length, -1 null; compact when flexible
	kindBytes              // 32-bit length, -1 null; compact when flexible
	kindArray              // of sub, each element a struct unless plain
)

// note marks a field whose place the caller wants to know.
type note uint8

const (
	noteNone      note = iota
	noteRecords        // a record batch
	noteMaxBytes       // int32: cap of a fetch's answer
	noteSession        // int32: id of a fetch session; its epoch follows
	noteGroupType      // string: kind of consumer group
	noteAcks           // int16: acknowledgements that a producer asks for
)

// field is one part of a body, in the order of the wire.
type field struct {
	kind     kind
	size     int
	from, to int16 // versions that have it, both inclusive
	sub      []field
	plain    bool // array of bare values, which have no tags of their own
	note     note
}

const anyVersion = 1<<15 - 1

func fixed(size int) field { return field{kind: kindFixed, size: size, to: anyVersion} }

var (
	b1   = fixed(1)
	i16  = fixed(2)
	i32  = fixed(4)
	i64  = fixed(8)
	uuid = fixed(16)
	str  = field{kind: kindString, to: anyVersion}
	raw  = field{kind: kindBytes, to: anyVersion}
)

// list is an array of structs.
func list(sub ...field) field { return field{kind: kindArray, to: anyVersion, sub: sub} }

// values is an array of bare values.
func values(of field) field {
	return field{kind: kindArray, to: anyVersion, sub: []field{of}, plain: true}
}

func (f field) since(v int16) field { f.from = v; return f }
func (f field) until(v int16) field { f.to = v; return f }
func (f field) as(n note) field     { f.note = n; return f }

// topicName and topicID: from some version on a topic goes by its id.
func topic(name field, lastByName int16) []field {
	return []field{name.until(lastByName), uuid.since(lastByName + 1)}
}

func with(head []field, tail ...field) []field { return append(head, tail...) }

// shapes lists every request that gets through. What is missing, is missing
// on purpose: transactions and their markers (a crash breaks them), deletion
// of records (it can empty a partition, whose offsets then start over), ACLs,
// SASL, quotas, reassignment and telemetry (nothing here uses them), share
// groups (their state is unbounded), and DescribeTopicPartitions and
// CreateTopics above 4 (the answers hold nulls that Java's tools trip over).
var shapes = []shape{
	{key: keyProduce, name: "Produce", min: 3, max: 12, flexible: 9, body: []field{
		str, i16.as(noteAcks), i32, list(str, list(i32, raw.as(noteRecords))),
	}},
	{key: keyFetch, name: "Fetch", min: 4, max: 18, flexible: 12, knownTags: 2, body: []field{
		i32.until(14), i32, i32, i32.as(noteMaxBytes), b1, i32.since(7).as(noteSession), i32.since(7),
		list(with(topic(str, 12),
			list(i32, i32.since(9), i64, i32.since(12), i64.since(5), i32))...),
		list(with(topic(str, 12), values(i32))...).since(7),
		str.since(11),
	}},
	{key: 2, name: "ListOffsets", max: 10, flexible: 6, body: []field{
		i32, b1.since(2), list(str, list(i32, i32.since(4), i64, i32.until(0))), i32.since(10),
	}},
	{key: 3, name: "Metadata", max: 13, flexible: 9, body: []field{
		list(uuid.since(10), str), b1.since(4), b1.since(8).until(10), b1.since(8),
	}},
	{key: 8, name: "OffsetCommit", max: 10, flexible: 8, body: []field{
		str, i32.since(1), str.since(1), str.since(7), i64.since(2).until(4),
		list(with(topic(str, 9), list(i32, i64, i64.since(1).until(1), i32.since(6), str))...),
	}},
	{key: 9, name: "OffsetFetch", max: 10, flexible: 6, body: []field{
		str.until(7), list(str, values(i32)).until(7),
		list(str, str.since(9), i32.since(9), list(with(topic(str, 9), values(i32))...)).since(8),
		b1.since(7),
	}},
	{key: 10, name: "FindCoordinator", max: 6, flexible: 3, body: []field{
		str.until(3), b1.since(1), values(str).since(4),
	}},
	{key: 11, name: "JoinGroup", max: 9, flexible: 6, body: []field{
		str, i32, i32.since(1), str, str.since(5), str, list(str, raw), str.since(8),
	}},
	{key: 12, name: "Heartbeat", max: 4, flexible: 4, body: []field{str, i32, str, str.since(3)}},
	{key: 13, name: "LeaveGroup", max: 5, flexible: 4, body: []field{
		str, str.until(2), list(str, str, str.since(5)).since(3),
	}},
	{key: 14, name: "SyncGroup", max: 5, flexible: 4, body: []field{
		str, i32, str, str.since(3), str.since(5), str.since(5), list(str, raw),
	}},
	{key: 15, name: "DescribeGroups", max: 6, flexible: 5, body: []field{values(str), b1.since(3)}},
	{key: 16, name: "ListGroups", max: 5, flexible: 3, body: []field{values(str).since(4), values(str.as(noteGroupType)).since(5)}},
	{key: keyApiVersions, name: "ApiVersions", max: 5, flexible: 3, body: []field{
		str.since(3), str.since(3), str.since(5), i32.since(5),
	}},
	{key: 19, name: "CreateTopics", max: 4, flexible: 5, body: []field{
		list(str, i32, i16, list(i32, values(i32)), list(str, str)), i32, b1.since(1),
	}},
	{key: 20, name: "DeleteTopics", max: 6, flexible: 4, body: []field{
		values(str).until(5), list(str, uuid).since(6), i32,
	}},
	{key: 22, name: "InitProducerID", max: 5, flexible: 2, body: []field{str, i32, i64.since(3), i16.since(3)}},
	{key: 23, name: "OffsetForLeaderEpoch", min: 3, max: 4, flexible: 4, body: []field{
		i32, list(str, list(i32, i32, i32)),
	}},
	{key: 32, name: "DescribeConfigs", max: 4, flexible: 4, body: []field{
		list(b1, str, values(str)), b1.since(1), b1.since(3),
	}},
	{key: 33, name: "AlterConfigs", max: 2, flexible: 2, body: []field{list(b1, str, list(str, str)), b1}},
	{key: 35, name: "DescribeLogDirs", max: 5, flexible: 2, body: []field{list(str, values(i32))}},
	{key: 37, name: "CreatePartitions", max: 3, flexible: 2, body: []field{
		list(str, i32, list(values(i32))), i32, b1,
	}},
	{key: 42, name: "DeleteGroups", max: 3, flexible: 2, body: []field{values(str)}},
	{key: 44, name: "IncrementalAlterConfigs", max: 1, flexible: 1, body: []field{list(b1, str, list(str, b1, str)), b1}},
	{key: 47, name: "OffsetDelete", max: 0, flexible: -1, body: []field{str, list(str, list(i32))}},
	{key: 60, name: "DescribeCluster", max: 2, flexible: 0, body: []field{b1, b1.since(1), b1.since(2)}},
	{key: 68, name: "ConsumerGroupHeartbeat", max: 1, flexible: 0, body: []field{
		str, str, i32, str, str, i32, values(str), str.since(1), str, list(uuid, values(i32)),
	}},
	{key: 69, name: "ConsumerGroupDescribe", max: 1, flexible: 0, body: []field{values(str), b1}},
	{key: 74, name: "ListConfigResources", max: 1, flexible: 0, body: []field{values(b1).since(1)}},
}

// maxKey bounds the table; keys of newer Kafka releases fall outside.
const maxKey = 128

var shapeOf = func() (t [maxKey]*shape) {
	for i := range shapes {
		t[shapes[i].key] = &shapes[i]
	}
	return t
}()

// lookup is the shape of a key, or nil.
func lookup(key int16) *shape {
	if key < 0 || key >= maxKey {
		return nil
	}
	return shapeOf[key]
}

// Versions is what the broker behind a guard must advertise and accept.
func Versions() *kversion.Versions {
	v := kversion.Stable()
	for key := range int16(maxKey) {
		if s := lookup(key); s != nil {
			v.SetMaxKeyVersion(key, s.max)
		} else {
			v.SetMaxKeyVersion(key, -1)
		}
	}
	return v
}
