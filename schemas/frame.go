package schemas

// Limits of the native session protocol; see session.proto.
const (
	SessionVersion = 1
	SessionName    = "tidemark.v1" // ALPN and WebSocket subprotocol

	MaxClientFrame = 64 << 10  // bytes of a frame that a client sends
	MaxServerFrame = 256 << 10 // bytes of a frame that a server sends
	MaxInterests   = 64        // businesses of one session
	MaxDeviceID    = 100       // code points; a device id is a link token
	MaxSessionID   = 100       // code points
	MaxClientKey   = 256       // bytes
)

// Frame is one message of a native session: exactly one field is set. A frame
// of a kind that this release does not know has none.
type Frame struct {
	Hello      *Hello
	Welcome    *Welcome
	Batch      *Batch
	Acks       *Acks
	Ping       *Ping
	Pong       *Pong
	Close      *Close
	Register   *Register
	Unregister *Unregister
	Bind       *Bind
	Unbind     *Unbind
	Foreground *Foreground
	Background *Background
	Move       *Move
	Notice     *Notice
}

// Hello is the client's first frame.
type Hello struct {
	Version          int64
	InstanceID       string
	ClientKey        string
	DeviceID         string
	DeviceCredential string
	UserID           string
	SessionID        string
	OS               string
	AppVersion       string
	Biz              []Interest
	WindowEntries    int64
	WindowBytes      int64
	Background       bool
}

// Interest is a business that a client has a callback for, and the last id
// that it holds if Known.
type Interest struct {
	BizType string
	Point   int64
	Known   bool
	Rewind  int64 // as in AckTo: a point from before a rewind does not count
}

// Welcome answers a hello that was accepted.
type Welcome struct {
	Session          string
	HeartbeatMillis  int64
	WindowEntries    int64
	WindowBytes      int64
	Time             int64
	DeviceCredential string
	Biz              []Standing
}

// Standing is where a business stands in a session: (…, From] is covered, Head
// is the newest id of its log.
type Standing struct {
	BizType string
	From    int64
	Head    int64
	Unknown bool
}

// Batch carries entries of one or more businesses.
type Batch struct{ Spans []Span }

// Span states that (From, To] of a business is covered.
type Span struct {
	BizType string
	From    int64
	To      int64
	Ops     []Op
	Rewind  int64 // number of the last rewind of the sync point; 0: there was none
}

// Op is one entry as clients see it: text in Payload, or raw bytes in Binary.
type Op struct {
	ID         int64
	ThirdMsgID string
	Payload    string
	Binary     []byte
}

// Acks says what a client has durably received.
type Acks struct{ Acks []AckTo }

// AckTo covers every id of a business up to and including To.
type AckTo struct {
	BizType string
	To      int64
	Rewind  int64 // largest number of a rewind that the client was shown; 1: none yet, 0: it does not tell
}

// Ping keeps a session alive and may carry acks.
type Ping struct {
	Acks []AckTo
	Time int64
}

// Pong answers a ping and says where the logs stand.
type Pong struct {
	Time int64
	Biz  []Standing
}

// Close is the last frame of either side.
type Close struct {
	Code             CloseCode
	Reason           string
	RetryAfterMillis int64
}

// Register adds businesses.
type Register struct{ Biz []Interest }

// Unregister takes businesses away.
type Unregister struct{ BizTypes []string }

// Bind logs a user in.
type Bind struct {
	UserID    string
	SessionID string
	Biz       []Interest
}

// Unbind logs the user out.
type Unbind struct{}

// Foreground says that the app is in front: global entries come now.
type Foreground struct{}

// Background says that the app is behind: nothing is pushed until Foreground.
type Background struct{}

// Move asks a client to connect again, to Address if given.
type Move struct {
	AfterMillis int64
	Address     string
	Reason      string
}

// NoticeCode says what a [Notice] is about.
type NoticeCode int64

// The notices.
const (
	NoticeAckRefused      NoticeCode = iota + 1 // ID was never sent to this session
	NoticeAboveHead                             // the client's point ID is above the log's head: its own record counts
	NoticeRegisterRefused                       // too many businesses, or a name too long
	NoticeUserEnded                             // the proof of the user has ended: nobody is bound until the next bind
)

// Notice tells a client of something; no answer is expected.
type Notice struct {
	Code    NoticeCode
	BizType string
	ID      int64
	Text    string
}

// CloseCode says why a session ended and, by its range, what to do next. It is
// a WebSocket close code as well.
type CloseCode int64

// The close codes.
const (
	CloseGoingAway CloseCode = 4000 // the server stops or moves its clients
	CloseInternal  CloseCode = 4001 // a fault of the server

	CloseOverloaded CloseCode = 4100 // too many handshakes or connections
	CloseNotReady   CloseCode = 4101 // the server has not caught up yet
	CloseSilent     CloseCode = 4102 // nothing was heard from the client
	CloseSlow       CloseCode = 4103 // the client's socket took nothing for too long

	CloseUnauthorized CloseCode = 4200 // wrong client key
	CloseDevice       CloseCode = 4201 // the device id belongs to another credential

	CloseReplaced CloseCode = 4300 // the same device connected again
	CloseProtocol CloseCode = 4301 // a frame that is not allowed here, or not readable
	CloseTooLarge CloseCode = 4302 // a frame over its limit
	CloseBadHello CloseCode = 4303 // a field of the hello is wrong; the reason names it
	CloseVersion  CloseCode = 4304 // a protocol version that the server does not speak
	CloseNormal   CloseCode = 4305 // the client said goodbye
)

// RetryRule is what a client does after a close.
type RetryRule string

// The retry rules.
const (
	RetryNow          RetryRule = "now"
	RetryLater        RetryRule = "later"
	RetryWithNewCreds RetryRule = "credentials"
	RetryNever        RetryRule = "never"
)

// Retry reads the rule from the code's range. A code outside of all ranges, as
// when a connection breaks without one, means later.
func (c CloseCode) Retry() RetryRule {
	switch {
	case c >= 4000 && c < 4100:
		return RetryNow
	case c >= 4200 && c < 4300:
		return RetryWithNewCreds
	case c >= 4300 && c < 4400:
		return RetryNever
	}
	return RetryLater
}
