//go:build !linux

package edge

import (
	"net"
	"time"
)

func setUserTimeout(*net.TCPConn, time.Duration) {}
