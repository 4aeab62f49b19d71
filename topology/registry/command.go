package registry

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Limits of a command.
const (
	// MaxCommandBytes bounds an encoded command, and with it an entry of the
	// replicated log. Larger work goes as several commands.
	MaxCommandBytes = 1 << 20
	// MaxCommandOps bounds the operations of one command.
	MaxCommandOps = 1000
	maxCommandID  = 64
	maxActor      = 100 // code points
	maxSource     = 100 // code points
)

// commandVersion is the first byte of an encoded command. It rises when an old
// release would misunderstand the rest; new kinds of operation need no rise.
const commandVersion = 1

// Command is one change of the registry: operations that are applied all or
// not at all. All that a change needs to know of the world (who, when, random
// material) stands in it, so every replica applies it alike.
type Command struct {
	// ID names the proposal. A second command of the same ID is answered with
	// the first one's result and changes nothing, so that a proposer that has
	// lost the answer can ask again. The newest 16,384 are remembered.
	ID     string
	Actor  string // who asked, as the audit shows it
	Source string // from which address
	Time   int64  // epoch ms at the proposer
	Expect int64  // if not 0: refuse unless the registry is at this revision
	Ops    []Op
}

// Op is one operation of a [Command]. The kinds of this package are all there
// are.
type Op interface {
	// Kind names the operation in the log.
	Kind() string
	// check refuses what is wrong whatever the model holds.
	check() error
	// apply makes the change or refuses it. It may leave the edit half made
	// when it refuses: the edit is thrown away then.
	apply(*edit) error
}

// Result is what became of a command.
type Result struct {
	// Revision is that of the registry after the command.
	Revision int64 `json:"revision"`
	// Publish is the settings revision that must be in every partition's log
	// for the command to be in force there; 0: it does not concern tasks.
	Publish int64 `json:"publish,omitempty"`
	// Changed is false when everything was as asked already.
	Changed bool `json:"changed,omitempty"`
	// Refused says why nothing was done; nil if it was.
	Refused *Error `json:"refused,omitempty"`
}

// Err is the refusal as an error, or nil.
func (r *Result) Err() error {
	if r.Refused == nil {
		return nil
	}
	return r.Refused
}

// Problem is the kind of an [Error]; callers choose their answer by it.
type Problem string

// The kinds of refusal.
const (
	Invalid  Problem = "invalid"  // breaks a rule whatever the registry holds
	NotFound Problem = "notFound" // names something that is not there
	Exists   Problem = "exists"   // would make something that is there
	Conflict Problem = "conflict" // somebody else changed it first: read again
	Refused  Problem = "refused"  // not in this state
	Unknown  Problem = "unknown"  // written by a newer release
)

// ErrOutcome is what an error wraps when nobody can tell whether a change was
// made: its answer was lost.
var ErrOutcome = errors.New("outcome unknown")

// Error is why a command was refused: where, and which rule.
type Error struct {
	Problem Problem `json:"problem"`
	Path    string  `json:"path,omitempty"` // to the field, dotted; empty: the command itself
	Reason  string  `json:"reason"`
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// at puts a step in front of an error's path.
func at(step string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	grown := *e
	switch {
	case grown.Path == "":
		grown.Path = step
	case grown.Path[0] == '[':
		grown.Path = step + grown.Path
	default:
		grown.Path = step + "." + grown.Path
	}
	return &grown
}

func refuse(p Problem, path, format string, args ...any) error {
	return &Error{Problem: p, Path: path, Reason: fmt.Sprintf(format, args...)}
}

func invalid(path, format string, args ...any) error { return refuse(Invalid, path, format, args...) }

// Check refuses what is wrong with a command whatever the registry holds.
func (c *Command) Check() error {
	switch {
	case len(c.ID) == 0 || len(c.ID) > maxCommandID:
		return invalid("id", "1 to %d bytes", maxCommandID)
	case len(c.Ops) == 0 || len(c.Ops) > MaxCommandOps:
		return invalid("ops", "%d operations: use 1 to %d", len(c.Ops), MaxCommandOps)
	case c.Time < 0:
		return invalid("time", "epoch milliseconds, not negative")
	}
	if err := errors.Join(checkText("actor", c.Actor, 0, maxActor), checkText("source", c.Source, 0, maxSource)); err != nil {
		return err
	}
	for i, op := range c.Ops {
		if err := op.check(); err != nil {
			return c.in(i, err)
		}
	}
	return nil
}

// in says which operation an error is about, where there are several.
func (c *Command) in(i int, err error) error {
	if len(c.Ops) == 1 {
		return err
	}
	return at(fmt.Sprintf("ops[%d]", i), err)
}

type wireCommand struct {
	ID     string   `json:"id"`
	Actor  string   `json:"actor,omitempty"`
	Source string   `json:"source,omitempty"`
	Time   int64    `json:"time"`
	Expect int64    `json:"expect,omitempty"`
	Ops    []wireOp `json:"ops"`
}

type wireOp struct {
	Kind string          `json:"kind"`
	Op   json.RawMessage `json:"op"`
}

// Append checks a command and appends its encoded form: a version byte and a
// JSON object, so that a log can be read with common tools.
func (c *Command) Append(b []byte) ([]byte, error) {
	if err := c.Check(); err != nil {
		return b, err
	}
	w := wireCommand{c.ID, c.Actor, c.Source, c.Time, c.Expect, make([]wireOp, len(c.Ops))}
	for i, op := range c.Ops {
		body, err := json.Marshal(op)
		if err != nil {
			return b, fmt.Errorf("encode operation %s: %w", op.Kind(), err)
		}
		w.Ops[i] = wireOp{op.Kind(), body}
	}
	body, err := json.Marshal(&w)
	if err != nil {
		return b, fmt.Errorf("encode command: %w", err)
	}
	if len(body) >= MaxCommandBytes {
		return b, invalid("", "a command of %d bytes: over the limit of %d; split it", len(body)+1, MaxCommandBytes)
	}
	return append(append(b, commandVersion), body...), nil
}

// DecodeCommand reads an encoded command. Operations of a kind that this
// release does not know are kept as such; [Model.Apply] skips the command.
func DecodeCommand(b []byte) (Command, error) {
	if len(b) == 0 || b[0] != commandVersion {
		return Command{}, errors.New("decode command: its version is unknown to this release")
	}
	if len(b) > MaxCommandBytes {
		return Command{}, fmt.Errorf("decode command: %d bytes: over the limit of %d", len(b), MaxCommandBytes)
	}
	var w wireCommand
	if err := json.Unmarshal(b[1:], &w); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	c := Command{w.ID, w.Actor, w.Source, w.Time, w.Expect, make([]Op, len(w.Ops))}
	for i, o := range w.Ops {
		read, ok := kinds[o.Kind]
		if !ok {
			c.Ops[i] = unknownOp{o.Kind}
			continue
		}
		op, err := read(o.Op)
		if err != nil {
			return Command{}, fmt.Errorf("decode operation %.60q: %w", o.Kind, err)
		}
		c.Ops[i] = op
	}
	return c, nil
}

// kinds finds an operation's decoder by its name in the log. Names are for
// ever: logs and backups hold them.
var kinds = map[string]func(json.RawMessage) (Op, error){
	"create":         decode[Create],
	"createInstance": decode[CreateInstance],
	"modifyInstance": decode[ModifyInstance],
	"deleteInstance": decode[DeleteInstance],
	"createSync":     decode[CreateSync],
	"modifySync":     decode[ModifySync],
	"setOnline":      decode[SetOnline],
	"deleteSync":     decode[DeleteSync],
	"addKey":         decode[AddKey],
	"deleteKey":      decode[DeleteKey],
	"keysUsed":       decode[KeysUsed],
	"createUser":     decode[CreateUser],
	"modifyUser":     decode[ModifyUser],
	"deleteUser":     decode[DeleteUser],
	"login":          decode[Login],
	"endSession":     decode[EndSession],
	"lockLogin":      decode[LockLogin],
	"unlockLogin":    decode[UnlockLogin],
	"setSignature":   decode[SetSignature],
	"setRules":       decode[SetRules],
	"note":           decode[Note],
	"announce":       decode[Announce],
	"forget":         decode[Forget],
	"putPlacement":   decode[PutPlacement],
	"meetTopic":      decode[MeetTopic],
	"publishAll":     decode[PublishAll],
	"markPublished":  decode[MarkPublished],
	"restoreChunk":   decode[RestoreChunk],
}

func decode[T Op](b json.RawMessage) (Op, error) {
	var op T
	err := json.Unmarshal(b, &op)
	return op, err
}

// unknownOp stands for an operation of a newer release.
type unknownOp struct{ kind string }

func (o unknownOp) Kind() string { return o.kind }
func (o unknownOp) check() error {
	return refuse(Unknown, "", "operation %.60q is unknown to this release: upgrade this node", o.kind)
}
func (o unknownOp) apply(*edit) error { return o.check() }
