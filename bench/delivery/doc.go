// Command delivery measures what a sender and a receiver see of Tidemark: how
// long after a request was due its push is at a client, and how long an HTTP
// call takes to be answered, on a real Kafka and on the embedded broker.
//
//	go run ./bench/delivery                                 about five minutes; writes the report
//	go run ./bench/delivery --quick --out /var/tmp/delivery does it work? two minutes
//	go run ./bench/delivery render                          the report again, from results.json
//
// # How it measures
//
// `tidemark dev` runs in a process of its own. Clients hold Server-Sent Events
// streams, each a connection and a user of its own with all businesses. Load
// comes at fixed rates through one door at a time, whatever becomes of it (open
// loop), and everything is timed from when the request was due, so a stall
// counts for everyone that it would have delayed. A push is timed when its
// event has been read whole from the client's connection; an answer when its
// body has been read.
//
// Checks: each push must arrive once, ids of one user and business one after
// the other with no gap, and each call must be answered SUCCESS. Anything else
// fails the benchmark.
//
// Idle memory: on a fresh node, the growth of the process's resident size with
// a number of silent streams, divided by their number.
//
// # Non-obvious
//
// Everything shares the machine's cores, this program too: its own CPU use is
// part of the latencies. Clients do not acknowledge, as what they get fits into
// the window; so acknowledgements cost nothing here.
package main
