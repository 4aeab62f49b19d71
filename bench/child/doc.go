// Package child runs a program as a child process that cannot outlive us, and
// reads from /proc what it and the machine have used.
//
// # Contract
//
// [Start] gives a [Child] whose output goes to a log file; [Child.Done] closes
// when it has ended, whoever ended it. [Child.Usage] works while it lives and
// after. Every child is killed when this process dies, even by SIGKILL (Linux).
//
// # Goroutines
//
// One per child, from Start to the child's end. It is locked to its thread,
// because Linux delivers the parent-death signal when the *thread* that
// started the child ends.
package child
