//go:build unix

package edge

import (
	"errors"
	"syscall"
)

// rawIO says that sockets can be read and written without waiting.
const rawIO = true

// writeNow writes what the kernel takes now.
func writeNow(fd uintptr, b []byte) (int, error) {
	total := 0
	for total < len(b) {
		n, err := syscall.Write(int(fd), b[total:])
		if n > 0 {
			total += n
		}
		switch {
		case errors.Is(err, syscall.EINTR):
		case again(err):
			return total, nil
		case err != nil:
			return total, err
		}
	}
	return total, nil
}

// readNow reads what is there; see again.
func readNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}

// again reports that there is nothing to read, or no room to write, now.
func again(err error) bool { return errors.Is(err, syscall.EAGAIN) }
