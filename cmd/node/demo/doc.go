// Package demo plays a day of flight operations through a running node, as
// outsiders would: requests through the HTTP and the Kafka door, clients on
// Server-Sent Events, and an independent reader of the oplog that counts.
//
// # Contract
//
// [Play] returns when every request was answered or acknowledged, every client
// has what it should get, and the oplog was counted; or when its context ends.
//
// # Goroutines
//
// Play owns one for each sender and each client, and returns when all have
// ended.
package demo
