package schemas

import "fmt"

// MaxRejectValue is how much of a refused request a reject carries, in bytes.
const MaxRejectValue = 1024

// Result answers one request, on the results topic or, when it was refused,
// on rejects.
type Result struct {
	Code             Code
	Reason           string
	InstanceID       string
	BizType          string
	LinkToken        string
	ThirdMsgID       string
	OplogID          int64
	RequestPartition int32
	RequestOffset    int64
	RequestID        []byte
	Value            []byte // rejects only
}

// AppendProto appends the result as a SyncResult message.
func (r *Result) AppendProto(b []byte) []byte {
	b = appendString(b, 1, string(r.Code))
	b = appendBool(b, 2, r.Code.OK())
	b = appendString(b, 3, r.Reason)
	b = appendString(b, 4, r.InstanceID)
	b = appendString(b, 5, r.BizType)
	b = appendString(b, 6, r.LinkToken)
	b = appendString(b, 7, r.ThirdMsgID)
	b = appendInt(b, 8, r.OplogID)
	b = appendInt(b, 9, int64(r.RequestPartition))
	b = appendInt(b, 10, r.RequestOffset)
	b = appendBytes(b, 11, r.RequestID)
	return appendBytes(b, 12, r.Value)
}

// DecodeProto reads a SyncResult message. Strings alias b.
func (r *Result) DecodeProto(b []byte) error {
	*r = Result{}
	if err := eachField(b, r.set); err != nil {
		return fmt.Errorf("decode SyncResult: %w", err)
	}
	return nil
}

func (r *Result) set(f field) error {
	switch f.num {
	case 1:
		var code string
		err := f.text("msg", &code)
		r.Code = Code(code)
		return err
	case 3:
		return f.text("reason", &r.Reason)
	case 4:
		return f.text("instance_id", &r.InstanceID)
	case 5:
		return f.text("biz_type", &r.BizType)
	case 6:
		return f.text("link_token", &r.LinkToken)
	case 7:
		return f.text("third_msg_id", &r.ThirdMsgID)
	case 8:
		return f.int("oplog_id", &r.OplogID)
	case 9:
		var v int64
		err := f.int("request_partition", &v)
		r.RequestPartition = int32(v)
		return err
	case 10:
		return f.int("request_offset", &r.RequestOffset)
	case 11:
		return f.bytes("request_id", &r.RequestID)
	case 12:
		return f.bytes("value", &r.Value)
	}
	return nil
}
