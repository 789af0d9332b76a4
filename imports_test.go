package paint_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// imports is the table of docs/architecture.md: which packages of the project a package may import. Tests may import
// more. Packages below another (internal, enginetest, script helpers) follow the row of the longest prefix.
var imports = map[string][]string{
	"weights":    {},
	"checkpoint": {"weights"},
	"":           {"weights"},
	"tokenizer":  {},
	"preprocess": {},
	"dataset":    {"preprocess"},
	"clip":       {"weights", "checkpoint"},
	"cpu":        {"clip", "weights", "cpu/internal/kernel"},
	"train":      {"clip", "weights", "checkpoint", "dataset", "preprocess"},
	"eval":       {"clip", "tokenizer", "preprocess", "dataset", "weights"},
	"report":     {""},
	"embedded":   {"clip", "checkpoint", "dataset", "preprocess", "weights"},
	"experiment": {"weights", "checkpoint", "", "tokenizer", "preprocess", "dataset", "clip", "train", "eval", "report", "embedded", "cpu"},
	"cmd/paint":  nil, // anything

	"cpu/internal/kernel":     {},
	"cpu/internal/kernel/gen": {},
	"clip/enginetest":         {"clip", "weights", "checkpoint"},
}

// The import table holds, and every package has a row in it.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	trim := func(path string) (string, bool) {
		if path == "paint" {
			return "", true
		}
		return strings.CutPrefix(path, "paint/")
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, _ := trim(p.ImportPath)
		seen[name] = true
		allowed, ok := imports[name]
		if !ok {
			t.Errorf("package %q has no row in the import table", name)
			continue
		}
		for _, i := range p.Imports {
			if dep, ours := trim(i); ours && allowed != nil && !slices.Contains(allowed, dep) {
				t.Errorf("package %q imports %q, the table allows %q", name, dep, allowed)
			}
		}
	}
	for _, name := range []string{"", "weights", "checkpoint", "clip"} {
		if !seen[name] {
			t.Errorf("package %q was not listed", name)
		}
	}
}
