package dataset

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on names.
const (
	maxNamesFile = 16 << 20
	maxName      = 1000 // bytes of a class name or a template
)

// classNames returns the names of the class folders dirs, as OpenFolder documents.
func classNames(fsys fs.FS, dirs []string) ([]string, error) {
	out := make([]string, len(dirs))
	source := "the folders"
	switch list, isJSON := exists(fsys, "classes.txt"), exists(fsys, "classnames.json"); {
	case list && isJSON:
		return nil, fmt.Errorf("both classes.txt and classnames.json are there")
	case list:
		source = "classes.txt"
		ls, err := lines(fsys, source)
		if err != nil {
			return nil, err
		}
		if strings.Contains(ls[0], "\t") {
			m := map[string]string{}
			for _, l := range ls {
				folder, name, ok := strings.Cut(l, "\t")
				if !ok {
					return nil, fmt.Errorf("%s: line %q has no tab, the first has", source, l)
				}
				m[strings.TrimSpace(folder)] = name
			}
			if err := pick(out, dirs, m, source); err != nil {
				return nil, err
			}
			break
		}
		if len(ls) != len(dirs) {
			return nil, fmt.Errorf("%s: %d names for %d class folders", source, len(ls), len(dirs))
		}
		copy(out, ls)
	case isJSON:
		source = "classnames.json"
		b, err := readLimited(fsys, source, maxNamesFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		var m map[string]string
		if err := json.Unmarshal(b, &m); err == nil {
			if err := pick(out, dirs, m, source); err != nil {
				return nil, err
			}
			break
		}
		var ls []string
		if err := json.Unmarshal(b, &ls); err != nil {
			return nil, fmt.Errorf("%s: neither an object of folder to name nor a list of names: %w", source, err)
		}
		if len(ls) != len(dirs) {
			return nil, fmt.Errorf("%s: %d names for %d class folders", source, len(ls), len(dirs))
		}
		copy(out, ls)
	default:
		for i, d := range dirs {
			out[i] = strings.ReplaceAll(d, "_", " ")
		}
	}
	seen := map[string]string{}
	for i, n := range out {
		n = strings.TrimSpace(n)
		if err := checkName(n); err != nil {
			return nil, fmt.Errorf("%s: class folder %q: name %w", source, dirs[i], err)
		}
		if d, ok := seen[n]; ok {
			return nil, fmt.Errorf("%s: class folders %q and %q have the same name %q", source, d, dirs[i], n)
		}
		seen[n] = dirs[i]
		out[i] = n
	}
	return out, nil
}

func pick(out, dirs []string, m map[string]string, source string) error {
	for i, d := range dirs {
		n, ok := m[d]
		if !ok {
			return fmt.Errorf("%s: no name for class folder %q", source, d)
		}
		out[i] = n
	}
	return nil
}

// checkName refuses what could be no class name.
func checkName(n string) error {
	switch {
	case n == "":
		return fmt.Errorf("is empty")
	case len(n) > maxName:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(n), maxName)
	case !utf8.ValidString(n):
		return fmt.Errorf("%q is not UTF-8", n)
	case strings.ContainsFunc(n, unicode.IsControl):
		return fmt.Errorf("%q has control characters", n)
	}
	return nil
}

// templates reads templates.txt.
func templates(fsys fs.FS) ([]string, error) {
	const name = "templates.txt"
	if !exists(fsys, name) {
		return []string{DefaultTemplate}, nil
	}
	ls, err := lines(fsys, name)
	if err != nil {
		return nil, err
	}
	for i, l := range ls {
		l = strings.ReplaceAll(l, "{c}", "{}")
		if err := checkName(l); err != nil {
			return nil, fmt.Errorf("%s: line %d %w", name, i+1, err)
		}
		if n := strings.Count(l, "{}"); n != 1 {
			return nil, fmt.Errorf("%s: template %q has %d \"{}\", want 1", name, l, n)
		}
		ls[i] = l
	}
	return ls, nil
}

// lines reads a small text file, one entry a line without the space around it. Empty lines are passed over.
func lines(fsys fs.FS, name string) ([]string, error) {
	b, err := readLimited(fsys, name, maxNamesFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var out []string
	for l := range strings.Lines(strings.TrimPrefix(string(b), "\ufeff")) {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return out, nil
}

// natural orders names as people do: runs of digits by value; equal ones by their bytes.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		dx, dy := digits(x), digits(y)
		if dx > 0 && dy > 0 {
			nx, ny := strings.TrimLeft(x[:dx], "0"), strings.TrimLeft(y[:dy], "0")
			if len(nx) != len(ny) {
				return len(nx) - len(ny)
			}
			if c := strings.Compare(nx, ny); c != 0 {
				return c
			}
			x, y = x[dx:], y[dy:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
