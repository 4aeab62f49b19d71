package edge

import (
	"testing"

	"github.com/tidemarkio/tidemark/schemas"
)

func TestStream(t *testing.T) {
	h := newHouse(t, nil)
	s := h.dial("deviceId=d1 userId=u1 biz=A")
	h.task.push(text("A", "u1", "text"))
	s.want(`{"bizType":"A","from":0,"to":1,"op":[{"id":1,"thirdMsgId":"m1","pl":"text"}]}`)
	h.task.push(schemas.Entry{BizType: "A", LinkToken: "u1", ThirdMsgID: "m7", Binary: []byte("hi")})
	s.want(`{"bizType":"A","from":1,"to":2,"op":[{"id":2,"thirdMsgId":"m7","pl":"aGk=","isB":true}]}`)
}
