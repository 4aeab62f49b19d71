// Command registry measures the registry: how soon a change of settings is in
// force on every partition, how long writes stand still when a leader dies,
// how long 10,000 configs take to load, what a thousand watchers cost, how
// fast the console's pages are, and what the quorum takes beside its ceiling.
//
//	go run ./bench/registry                                  about five minutes; writes the report
//	go run ./bench/registry --quick --out /var/tmp/registry  does it work? a minute or two
//	go run ./bench/registry --only pages,propose             some parts; see --help
//	go run ./bench/registry render                           the report again, from results.json
//
// # How it measures
//
// force: three `tidemark registry run` and a `tidemark processor`, each a
// process, on a real Kafka. A config is taken offline and online in turns
// through the admin API, of the leader and of a follower, answered when it is
// published (the API's default) and when it is committed (wait=false). From the
// moment of the answer, every partition is asked without a pause by requests of
// its own through Kafka, until their results tell of the change. The slowest
// partition counts, and the time that a request takes to be answered is in it.
//
// takeover: the leader is killed with SIGKILL. Each of the others is asked for
// a change at once; the later answer counts. Then all partitions are asked
// until the change is in force.
//
// load: a registry whose snapshot holds the configs is opened again, many times
// in this process and a few times as a process of its own: one that has just
// been filled, which the aim is about, and one whose audit has grown. And a file
// with as many configs goes through the admin API of the three nodes above.
//
// watch: watchers of a follower by GET /api/v1/watch, each over a connection of
// its own. One change at a time through the leader, timed until the last watcher
// has been told.
//
// pages: `tidemark dev` on its embedded broker, filled through the admin API.
// A person who has logged in gets each page many times, one after the other; a
// page is timed until its last byte.
//
// propose: a change alone and many at once, against three nodes in this
// process, on one disk; the ceiling is hashicorp/raft alone with a log that is a
// file with an fsync for each batch, and no state.
//
// # Non-obvious
//
// Everything shares the machine's cores, this program too.
//
// Raft takes a snapshot half a minute to a minute after there is reason to. The
// registries for the load part are filled when the program starts and idle
// beside the parts before it.
//
// A follower hears of a commit with Raft's next message, 10 to 20 ms later:
// that is most of what its watchers wait for.
package main
