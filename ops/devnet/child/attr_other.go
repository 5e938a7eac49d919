//go:build !linux

package child

import "syscall"

// groupAttr gives the child its own process group.
func groupAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
