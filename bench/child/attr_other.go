//go:build !linux

package child

import "syscall"

// dieWithParent: elsewhere a child may outlive a parent that is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
