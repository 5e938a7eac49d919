package child

import "syscall"

// groupAttr gives the child its own process group and has the kernel kill it when its parent dies.
func groupAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
