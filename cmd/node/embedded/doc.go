// Package embedded is the Kafka broker inside `tidemark dev`: franz-go's kfake
// with its data in a directory, made fit to be relied on by one machine.
//
// # Contract
//
// [Start] opens the directory (one process at a time), mends what a crash has
// left, makes sure of the topics and serves any Kafka client on a loopback
// address. What a client was told is stored stays stored:
//
//   - When the process dies (kill -9, a panic, out of memory) nothing that was
//     acknowledged is lost, doubled or reordered, no offset of a partition or a
//     group goes back, and idempotent producers, ours and foreign, go on as if
//     the connection had broken.
//   - When the machine dies (power, kernel), that holds with
//     [Config.SyncWrites] only, on file systems that write a new file's name
//     with its contents (ext4, XFS, APFS). Without it the newest seconds may
//     go, as with a Kafka of one node in its default settings. An fsync that
//     fails is not noticed by the broker: a disk that lies is not survived.
//
// [Broker.Close] refuses new work, saves what the next start would otherwise
// have to rebuild and returns when all has ended.
//
// # What it is not
//
// One broker, no replicas, one goroutine for all requests. It is made for up
// to about 10 GiB ([WarnBytes]); past that each doubling is logged. Not there,
// and why:
//
//   - Transactions: a crash with one open hides or resurrects records. A
//     transactional producer is told TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
//   - Compaction and retention by the broker: both can lose data at a crash.
//     Topics that Kafka would compact keep every record, and settings of other
//     topics are stored and have no effect. Topics of ours with a retention are
//     trimmed by us, in whole files, never the newest (trim.go).
//   - Deleting records, ACLs, SASL, TLS, quotas, share groups, creating topics
//     by producing to them.
//   - Other addresses than loopback: nobody is asked who they are.
//
// # Goroutines
//
// The broker's own, one that looks after sizes and old files, and two per
// connection. All have ended when Close returns.
//
// # Non-obvious
//
// kfake is used as published, so whatever it gets wrong is kept from it. Package
// guard checks every byte from the network; rules.go answers well-formed
// requests that would harm it; mend.go writes, before it opens a directory that
// was not closed, the files that a close would have written. Those are private
// formats of one version of kfake: the tests that kill, tear and reopen are
// what an upgrade of the module has to pass.
//
// At a start each partition's newest file is read and checked, and all files
// are then read once by the broker, as many at a time as there are partitions:
// [MaxSegmentBytes] bounds what that takes.
//
// Clients known to work: franz-go; kcat and confluent-kafka (librdkafka) with
// every codec, idempotence, classic and KIP-848 groups; Java's clients and
// console tools of Kafka 4.3 (topics, groups with reset, get-offsets, log-dirs,
// producer and consumer in both group protocols).
package embedded
