// Command dedupe measures ways to remember which requests were seen: what a
// miss costs (the common case), a hit, a put, the expiry of a bucket, opening
// a store after a crash, memory and disk. The choice that package state made
// rests on it; REPORT.md is its output.
//
//	go run ./bench/dedupe         10 M keys, writes bench/dedupe/REPORT.md
//	go run ./bench/dedupe -quick  1 M keys, to see that it works
//	go run ./bench/dedupe -large  and 100 M keys with three of the layouts
//
// Every layout runs in a process of its own, so that memory and CPU time are
// its own. Costs are CPU time of the whole process, Pebble's flushes and
// compactions included, divided by operations: on a machine that does other
// work as well they hold where wall-clock times do not.
package main
