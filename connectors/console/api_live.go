package console

// StreamsMax bounds the streams (live figures and oplog tails) that are open at
// the same time at one node.
const StreamsMax = 16
