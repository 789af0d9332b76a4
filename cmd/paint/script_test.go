package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"paint/embedded"
)

// commands are the programs that scripts may run.
var commands = map[string]func(){"paint": main}

func TestMain(m *testing.M) {
	testscript.Main(m, commands)
}

// TestScripts runs the command line as a user does: testdata/script holds one story a file.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			// No script may find data of the machine it runs on.
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("PAINT_KERNELS", os.Getenv("PAINT_KERNELS"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exitcode": exitcode, "pngs": pngs, "jsonhas": jsonhas, "truncate": truncateFile, "patchbyte": patchByte, "waitfor": waitFor,
			"model": writeModel, "absent": absent, "nonempty": nonEmpty,
		},
	})
}

// exitcode N COMMAND...: the command must end with that code and, unless N is 0, print nothing on standard output.
func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		if _, after, ok := strings.Cut(err.Error(), "exit status "); ok {
			got, _ = strconv.Atoi(after)
		} else {
			ts.Fatalf("running %s: %v", args[1], err)
		}
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if out := ts.ReadFile("stdout"); want != 0 && out != "" {
		ts.Fatalf("a failed command printed %q on standard output", out)
	}
}

// pngs DIR N: N small pictures, each of its own colour.
func pngs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pngs dir n")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	seed := len(args[0])
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 20+i%3, 24))
		for y := range 24 {
			for x := range 20 + i%3 {
				img.Set(x, y, color.RGBA{uint8(40*i + 7*x), uint8(80*seed + 5*y), uint8(60 * seed), 255})
			}
		}
		var b bytes.Buffer
		ts.Check(png.Encode(&b, img))
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.png", i)), b.Bytes(), 0o666))
	}
}

// jsonhas FILE KEY...: the file (or stdout) is one JSON object with these keys.
func jsonhas(ts *testscript.TestScript, neg bool, args []string) {
	var m map[string]any
	text := ts.ReadFile(args[0])
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		ts.Fatalf("%s is not one JSON object: %v\n%s", args[0], err, text)
	}
	for _, k := range args[1:] {
		if _, ok := m[k]; ok == neg {
			ts.Fatalf("key %q: present is %v", k, ok)
		}
	}
}

// truncate FILE BYTES cuts a file.
func truncateFile(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// patchbyte FILE OFFSET VALUE... sets bytes.
func patchByte(ts *testscript.TestScript, _ bool, args []string) {
	off, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := []byte(ts.ReadFile(args[0]))
	for i, a := range args[2:] {
		v, err := strconv.ParseUint(a, 0, 8)
		ts.Check(err)
		at := off + i
		if off < 0 {
			at += len(b)
		}
		b[at] = byte(v)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

// waitfor FILE: until the file is there.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	for range 600 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}

// model DIR: the embedded model as a directory in OpenCLIP layout.
func writeModel(ts *testscript.TestScript, _ bool, args []string) {
	m, err := embedded.Model()
	ts.Check(err)
	ts.Check(m.Save(ts.MkAbs(args[0])))
}

// absent GLOB...: nothing matches. With "!", each matches something.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	for _, a := range args {
		m, err := filepath.Glob(ts.MkAbs(a))
		ts.Check(err)
		switch {
		case neg && len(m) == 0:
			ts.Fatalf("nothing matches %s", a)
		case !neg && len(m) > 0:
			ts.Fatalf("left behind: %v", m)
		}
	}
}

// nonempty FILE...: each is there and holds something.
func nonEmpty(ts *testscript.TestScript, _ bool, args []string) {
	for _, a := range args {
		s, err := os.Stat(ts.MkAbs(a))
		ts.Check(err)
		if s.Size() == 0 {
			ts.Fatalf("%s is empty", a)
		}
	}
}
