package ingress

import "sync"

// places bounds the calls that are under way and the bytes that are kept for
// their bodies.
type places struct {
	callsMax int
	bytesMax int64

	mu    sync.Mutex
	calls int
	bytes int64
}

// enter takes a place for a call and for so many bytes of its body. Without
// room it takes nothing and says so.
func (p *places) enter(bytes int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls >= p.callsMax || p.bytes+bytes > p.bytesMax {
		return false
	}
	p.calls++
	p.bytes += bytes
	return true
}

// giveBack returns bytes that a call turned out not to need.
func (p *places) giveBack(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes -= bytes
}

// leave returns a call's place and what is left of its bytes.
func (p *places) leave(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	p.bytes -= bytes
}

func (p *places) used() (calls int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls, p.bytes
}
