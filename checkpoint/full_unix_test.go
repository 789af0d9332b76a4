//go:build unix

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"paint/weights"
)

// A disk that is full leaves nothing behind: a process of its own may write files of 64 KiB at most.
func TestDiskFull(t *testing.T) {
	const env = "PAINT_TEST_DISK_FULL"
	dir := os.Getenv(env)
	if dir == "" {
		dir = t.TempDir()
		old := put(t, filepath.Join(dir, "old"), []byte("old"))
		cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$")
		cmd.Env = append(os.Environ(), env+"="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "all refused") {
			t.Fatalf("%v: %s", err, out)
		}
		if content(t, old) != "old" {
			t.Error("what was there has changed")
		}
		os.Remove(old)
		checkEmpty(t, dir)
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	s := &weights.Set{}
	s.Put(weights.New("small", weights.F32, 100))
	s.Put(weights.New("large", weights.F32, 1<<16))
	for name, err := range map[string]error{
		"new file":      Write(filepath.Join(dir, "new"), s),
		"existing file": Write(filepath.Join(dir, "old"), s),
		"directory":     WriteDir(filepath.Join(dir, "d"), func(tmp string) error { return Write(filepath.Join(tmp, "x"), s) }),
		"sharded":       WriteDir(filepath.Join(dir, "s"), func(tmp string) error { return WriteSharded(filepath.Join(tmp, "i"), s, Plan(s, "m", 1000)) }),
	} {
		if !errors.Is(err, syscall.EFBIG) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	fmt.Println("all refused")
}

// Pipes would block and devices have no size: neither is opened.
func TestSpecialFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, os.DevNull} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "blob"), raw(`{"a":{`+f32x2+`}}`, make([]byte, 8)))
	link := filepath.Join(dir, "x.safetensors") // as the hub's cache has them
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if s, err := Read(link); err != nil || s.Len() != 1 {
		t.Error(err)
	}
}
