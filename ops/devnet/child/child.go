// Package child runs another program and makes sure that it ends.
//
// A child has its own process group, so that a Ctrl-C at the terminal reaches only the parent, which then decides;
// everything sent to the child goes to the whole group. On Linux the kernel kills it should the parent die without
// a word. What it prints is kept in a file and its last lines in memory.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// pipeDelay bounds how long output is awaited after the child has exited, in case a grandchild holds the pipe.
const pipeDelay = 2 * time.Second

// Spec says what to run.
type Spec struct {
	// Path is the program, Args its arguments without the program's name.
	Path string
	Args []string
	// Dir is the working directory.
	Dir string
	// Env is the whole environment.
	Env []string
	// LogFile receives stdout and stderr, appended.
	LogFile string
	// OnLine, when not nil, is called with each line of output, in order, from one goroutine. It must not block.
	OnLine func(line string)
}

// Process is a child that was started. Its methods may be called from any goroutine.
type Process struct {
	pid  int
	out  *output
	done chan struct{}
	// err is how the child ended; read it after done.
	err error

	mu sync.Mutex // no signal is sent once the pid may be another's
}

// Start runs the program. When ctx ends the whole group is killed.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	out, err := newOutput(spec.LogFile, spec.OnLine)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir, cmd.Env = spec.Dir, spec.Env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = groupAttr()
	cmd.WaitDelay = pipeDelay

	p := &Process{out: out, done: make(chan struct{})}
	started := make(chan error)
	go p.run(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	stop := context.AfterFunc(ctx, p.Kill)
	go func() {
		<-p.done
		stop()
	}()
	return p, nil
}

// run starts and reaps the child on one operating system thread: the kernel takes the end of the thread that
// started a child for the end of the parent.
func (p *Process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- errors.Join(err, p.out.close())
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil

	waitErr := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // what the child left behind; its group outlives it until then
	p.err = errors.Join(waitErr, p.out.close())
	close(p.done)
}

// PID is the child's process id, which is its group's id too.
func (p *Process) PID() int { return p.pid }

// Done is closed once the child has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended: nil is exit status 0. It is nil too while the child runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Tail is the last lines of output, oldest first.
func (p *Process) Tail() []string { return p.out.tail() }

// Kill ends the group at once and returns when the child is gone.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the child to end, with SIGTERM, and waits. If ctx ends first the group is killed and Stop says so.
// A child that ended by itself is no error.
func (p *Process) Stop(ctx context.Context) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("process %d did not stop on SIGTERM and was killed: %w", p.pid, context.Cause(ctx))
	}
}

func (p *Process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.pid, sig)
	}
}

// CleanEnv is the parent's environment without the variables whose name begins with prefix.
func CleanEnv(prefix string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if len(entry) < len(prefix) || entry[:len(prefix)] != prefix {
			env = append(env, entry)
		}
	}
	return env
}
