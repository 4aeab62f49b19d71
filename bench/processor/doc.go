// Command processor measures what Tidemark's sync task costs beside what it
// could cost at best and what others cost: throughput, CPU, memory and latency
// of several programs that do their job on the same real Kafka, on the same
// requests, in the same run, in turns.
//
// The programs, each in a process of its own:
//
//	pipe            the ceiling: franz-go alone, consume and produce one record
//	                per request, idempotent, acks=all, no state
//	txpipe          the transactional ceiling: the same with two records per
//	                request, in transactions that also commit the input
//	streams-window  Kafka Streams, exactly once, dedupe in a window store
//	streams-kv      Kafka Streams, exactly once, dedupe in a key-value store
//	streams-10ms    Kafka Streams, key-value, set up for latency (latency part only)
//	tidemark        the binary, whatever command line it is given
//
// # How it measures
//
// Throughput: the requests lie in the topic before a program starts. The clock
// starts when its first output is visible and stops when its consumer group has
// committed the end of every partition: both are seen from outside, by asking
// the broker, so no program measures itself. What comes before the clock is
// reported as start-up. CPU is that of the process between the same two
// moments, from /proc; memory is its highest resident size.
//
// Latency: requests come at a fixed rate whatever the program does (open loop).
// Each is timed from when it was due to when a read_committed reader has its
// output, so a stall counts for everyone that it would have delayed.
//
// Checks: after each run the output topic is read back and compared with what
// it must hold, entry by entry; a program that is fast and wrong fails the
// benchmark.
//
// Noise: other people's CPU use during a run is measured (the machine's busy
// time less that of the processes that take part). A run with too much of it is
// repeated; what stays is in the report.
//
// # Non-obvious
//
// All programs, the broker and this harness share the machine's cores. The
// figures say what a machine does with a broker beside it; compare within one
// report only.
package main
