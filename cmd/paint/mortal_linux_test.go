package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

func init() { commands["paint-mortal"] = mortal }

// mortal is paint as a process that dies in the middle of writing: once a file grows beyond a megabyte the system ends it
// on the spot, as SIGKILL would. The Go runtime takes that signal for itself and lets the write fail instead, which
// faults.txtar covers; here its handler is replaced by the system's default behind the runtime's back.
func mortal() {
	for resource, limit := range map[int]uint64{syscall.RLIMIT_FSIZE: 1 << 20, syscall.RLIMIT_CORE: 0} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fmt.Fprintln(os.Stderr, "setting a limit:", err)
			os.Exit(1)
		}
	}
	// The kernel's struct sigaction; zero is the default action, no flags and an empty mask on every architecture.
	var dflt [8]uint64
	const maskBytes = 8
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGXFSZ), uintptr(unsafe.Pointer(&dflt)), 0, maskBytes, 0, 0); errno != 0 {
		fmt.Fprintln(os.Stderr, "setting the action of a signal:", errno)
		os.Exit(1)
	}
	main()
}
