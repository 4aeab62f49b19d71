package schemas

// Record headers of the requests and results topics.
const (
	// HeaderContentType tells the form of a request: [ContentProtobuf] or
	// [ContentJSON]. Without it a value that starts with '{' is JSON.
	HeaderContentType = "content-type"
	// HeaderReply holds the partition of the results topic, in decimal, where
	// the producer waits for the result. Without it no result is sent.
	HeaderReply = "tidemark-reply"
	// HeaderRequestID is echoed in the result; at most [MaxRequestID] bytes.
	HeaderRequestID = "tidemark-request-id"
	// HeaderControl marks a control record. Its value is a [Control]; what
	// counts is the MAC inside, not the header.
	HeaderControl = "tidemark-control"
	// HeaderForwarded is set by a task that moved a record to its right
	// partition; it holds "partition/offset" of the original.
	HeaderForwarded = "tidemark-forwarded-from"
)

// Values of [HeaderContentType].
const (
	ContentProtobuf = "application/x-protobuf"
	ContentJSON     = "application/json"
)
