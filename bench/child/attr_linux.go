package child

import "syscall"

// dieWithParent gives the child a process group of its own, so that ctrl-C in
// a terminal reaches only us and we end it in order, and the kernel's promise
// to kill it when we are gone.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
