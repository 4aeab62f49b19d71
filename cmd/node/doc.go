// Package node builds the house: one Config in, a running Tidemark out.
//
// # Contract
//
// [New] checks the configuration and opens the listeners, so that a taken port
// is an error at once. [Node.Run] starts the parts in order (broker, topics,
// registry, control records, sync tasks, doors) and stops them in reverse when
// its context ends; it returns when all have ended. [Node.Ready] says why the
// node is not ready, in words.
//
// # Goroutines
//
// Run owns one for each part and each HTTP server.
package node
