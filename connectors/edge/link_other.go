//go:build !unix

package edge

import "errors"

const rawIO = false

var errNoRawIO = errors.New("sockets cannot be read without waiting here")

func writeNow(uintptr, []byte) (int, error) { return 0, errNoRawIO }
func readNow(uintptr, []byte) (int, error)  { return 0, errNoRawIO }
func again(error) bool                      { return false }
