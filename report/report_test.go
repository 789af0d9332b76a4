package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func encode(t *testing.T, run *Run) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := run.Encode(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func table(t *testing.T, run *Run) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := Table(&buf, run); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func page1(t *testing.T, run *Run) []byte {
	t.Helper()
	b, err := HTML(run)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t *testing.T) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func TestGolden(t *testing.T) {
	golden(t, "run.json", encode(t, sample()))
	run, err := Read("testdata") // everything below comes from the file, as in paint report
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", table(t, run))
	golden(t, "card.md", []byte(ModelCard(run)))
	golden(t, "frontier.svg", SVG(run))
	golden(t, "alpha.svg", AlphaSVG(run))
	golden(t, "report.html", page1(t, run))
	golden(t, "results.jsonl", must(t)(ResultsJSONL(run)))
	golden(t, "results.csv", must(t)(ResultsCSV(run)))
	golden(t, "several-table.txt", table(t, several()))
	golden(t, "several-card.md", []byte(ModelCard(several())))
	golden(t, "compare.html", must(t)(Compare([]Named{{"runs/one", run}, {"runs/several", several()}})))
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	run := sample()
	if err := run.Write(dir); err != nil {
		t.Fatal(err)
	}
	back, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := encode(t, run), encode(t, back); !bytes.Equal(a, b) {
		t.Error("run.json changes when it is read and written")
	}
	back.Config, run.Config = nil, nil // read as json.Number
	if !reflect.DeepEqual(run, back) {
		t.Error("the run changes when it is written and read")
	}
}

func TestReadBad(t *testing.T) {
	good := string(encode(t, sample()))
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("sample lacks %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	const supported = "\n  \"supported\": [" // the top level's, by its indent
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "file is empty|ends early"},
		{"truncated", good[:len(good)/2], "JSON ends early, after"},
		{"cut by one", good[:len(good)-3], "JSON ends early"},
		{"not JSON", "<html>", "invalid JSON at byte 1"},
		{"array", "[]", "top level is a array"},
		{"no schema", "{}", `no key "schema"`},
		{"schema", swap(`"schema": 1`, `"schema": 2, "new": 1`), "schema 2, this version reads schema 1"},
		{"unknown key", swap(`"tool"`, `"colour": 1, "tool"`), `unknown key "colour"`},
		{"nested unknown key", swap(`"layout"`, `"lay": 1, "layout"`), `unknown key "lay"`},
		{"kind", swap(`"patching": [`, `"patching": 3, "x": [`), `key "patching" is a number`},
		{"trailing", good + "{}", "invalid JSON at byte"},
		{"accuracy", swap(`"top1": 0.`, `"top1": 7.`), "want fractions between 0 and 1"},
		{"mean", swap(`"patching_mean": 0.`, `"patching_mean": -0.`), "want fractions"},
		{"huge number", swap(`"seed": 1844`, `"seed": 99991844`), `key "seed"`},
		{"alpha", swap(`"alpha": 0.05,`, `"alpha": 0,`), "alpha 0 twice"},
		{"task twice", swap(supported, supported+`"mnist",`), `task "mnist" is listed twice`},
		{"no name", swap(supported, supported+`"",`), "a task without a name"},
		{"long name", swap(supported, supported+`"`+strings.Repeat("x", 2000)+`",`), "task name of 2000 bytes"},
		{"deep", `{"schema":1,"config":` + strings.Repeat("[", 20000), "invalid JSON|ends early"},
		{"newline in key", swap(`"tool"`, `"a\nb": 1, "tool"`), `unknown key "a\nb"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run.json")
			if err := os.WriteFile(path, []byte(c.in), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if err == nil {
				t.Fatal("no error")
			}
			if !regexp.MustCompile(c.want).MatchString(err.Error()) && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "reading run ") {
				t.Errorf("error %q: want one line with the operation", err)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") && !strings.Contains(err.Error(), "cannot find") {
		t.Errorf("missing directory: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	raw, err := os.ReadFile("testdata/run.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:100])
	f.Add([]byte(`{"schema":1}`))
	f.Add([]byte(`{"schema":1,"patching":["a"],"supported":["b"],"alpha":0.5,"curve":[{"alpha":0.5,"accuracy":{"a":{"top1":1}},"patching_mean":1}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		run, err := Decode(bytes.NewReader(in))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		checkAll(t, run)
	})
}

// checkAll makes everything of a run and holds it to being well formed.
func checkAll(t *testing.T, run *Run) {
	t.Helper()
	table(t, run)
	for name, b := range map[string][]byte{"frontier": SVG(run), "alpha": AlphaSVG(run)} {
		checkXML(t, name, b)
	}
	checkPage(t, page1(t, run))
	checkPage(t, must(t)(Compare([]Named{{"a", run}, {"b", run}})))
	if card := ModelCard(run); !strings.HasPrefix(card, "---\n") {
		t.Error("card has no front matter")
	}
	rows := must(t)(ResultsJSONL(run))
	if n := bytes.Count(rows, []byte("\n")); n != len(run.Curve) {
		t.Errorf("results.jsonl has %d rows for %d alphas", n, len(run.Curve))
	}
	must(t)(ResultsCSV(run))
}

func checkXML(t *testing.T, name string, b []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	var seen []string
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s.svg: %v", name, err)
		}
		if el, ok := tok.(xml.StartElement); ok {
			seen = append(seen, el.Name.Local)
			for _, a := range el.Attr {
				if a.Name.Local == "href" || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("%s.svg: attribute %s", name, a.Name.Local)
				}
			}
		}
	}
	for _, want := range []string{"title", "desc"} {
		if !slices.Contains(seen, want) {
			t.Errorf("%s.svg: no <%s>", name, want)
		}
	}
	for _, bad := range []string{"script", "style", "image", "foreignObject", "use"} {
		if slices.Contains(seen, bad) {
			t.Errorf("%s.svg: has <%s>", name, bad)
		}
	}
	if regexp.MustCompile(`"[^"]*(NaN|Inf)[^"]*"`).Match(stripText(b)) {
		t.Errorf("%s.svg: a coordinate is not a number", name)
	}
}

func stripText(b []byte) []byte { return regexp.MustCompile(`>[^<]*<`).ReplaceAll(b, []byte("><")) }

// checkPage parses a page and looks for what must not be there: loads from outside, scripts other than its own, ids used
// twice, references to ids that do not exist, headings out of order, tables without captions or scopes.
func checkPage(t *testing.T, b []byte) {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var refs []string
	scripts, level, h1 := 0, 0, 0
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			attr := map[string]string{}
			for _, a := range n.Attr {
				attr[a.Key] = a.Val
				switch {
				case strings.HasPrefix(a.Key, "on"):
					t.Errorf("<%s> has %s", n.Data, a.Key)
				case a.Key == "src", a.Key == "srcset", a.Key == "action", a.Key == "style":
					t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
				case a.Key == "href" && !strings.HasPrefix(a.Val, "#") && a.Val != "data:,":
					t.Errorf("<%s> links to %q", n.Data, a.Val)
				case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
					refs = append(refs, a.Val[1:])
				case a.Key == "id":
					if ids[a.Val] {
						t.Errorf("id %q is used twice", a.Val)
					}
					ids[a.Val] = true
				case a.Key == "aria-labelledby", a.Key == "aria-describedby", a.Key == "for":
					refs = append(refs, strings.Fields(a.Val)...)
				}
			}
			switch n.Data {
			case "script":
				scripts++
			case "iframe", "object", "embed", "img", "audio", "video", "base", "form":
				t.Errorf("page has <%s>", n.Data)
			case "h1", "h2", "h3":
				l := int(n.Data[1] - '0')
				if l == 1 {
					h1++
				}
				if l > level+1 {
					t.Errorf("heading <%s> after level %d", n.Data, level)
				}
				level = l
			case "table":
				if c := n.FirstChild; c == nil || !hasChild(n, "caption") {
					t.Error("a table without a caption")
				}
			case "th":
				if attr["scope"] == "" {
					t.Error("a <th> without scope")
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(doc)
	for _, r := range refs {
		if !ids[r] {
			t.Errorf("reference to id %q, which does not exist", r)
		}
	}
	if scripts != 0 && scripts != 2 {
		t.Errorf("%d scripts, want none or the data and the page's own", scripts)
	}
	if h1 != 1 {
		t.Errorf("%d <h1>", h1)
	}
	if bytes.Contains(b, []byte("ZgotmplZ")) {
		t.Error("the template engine refused a value")
	}
}

func hasChild(n *html.Node, name string) bool {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Data == name {
			return true
		}
	}
	return false
}

func TestSampleIsWellFormed(t *testing.T) {
	checkAll(t, sample())
	checkAll(t, several())
}

func TestDegenerate(t *testing.T) {
	for name, run := range degenerate() {
		t.Run(name, func(t *testing.T) {
			checkAll(t, run)
			if err := run.check(); err != nil {
				t.Errorf("the case is not one that Read lets through: %v", err)
			}
		})
	}
}

func TestEscaping(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)> </title></style></script>--> | [x](javascript:alert(1)) ` + "`code`" + ` \ ' & "quoted" ` + "\x1b[31m\n\r\x00\u202e # head"
	run := sample()
	rename := func(m map[string]Accuracy) {
		m[evil] = m["cifar10"]
		delete(m, "cifar10")
	}
	run.Support[1] = evil
	for i := range run.Curve {
		rename(run.Curve[i].Accuracy)
		run.Curve[i].Split = evil
	}
	rename(run.Final.ZeroShot)
	rename(run.Final.Patched)
	rename(run.Final.FineTuned)
	task := run.Tasks["cifar10"]
	task.Classes, task.Templates, task.Source, task.Split, task.License = []string{evil, evil}, []string{evil + "{}"}, evil, evil, evil
	task.Checksums = map[string]string{evil: evil}
	delete(run.Tasks, "cifar10")
	run.Tasks[evil] = task
	run.Patching = append(run.Patching, evil+"2")
	run.Tasks[evil+"2"] = task
	run.Model = Model{Name: evil, Layout: evil, Hash: evil, License: evil}
	run.Why, run.Rule, run.Version, run.Kind, run.Started, run.Finished, run.Command = evil, evil, evil, evil, evil, evil, evil+"\n```\n# not a heading"
	run.Config = map[string]any{evil: evil, "nested": map[string]any{evil: []any{evil}}}
	run.Times = map[string]float64{evil: 1}
	run.Machine = Machine{OS: evil, Arch: evil, CPU: evil, Kernels: evil}
	checkAll(t, run)
	page := page1(t, run)
	checkPage(t, must(t)(Compare([]Named{{evil, run}, {"b", sample()}})))
	if bytes.Contains(page, []byte("<img")) || bytes.Contains(page, []byte("<script>alert")) {
		t.Error("a name became markup in the page")
	}
	for name, b := range map[string][]byte{"frontier": SVG(run), "alpha": AlphaSVG(run)} {
		if bytes.Contains(b, []byte("<script")) || bytes.Contains(b, []byte("<img")) {
			t.Errorf("a name became markup in %s.svg", name)
		}
	}
	if out := string(table(t, run)); strings.ContainsAny(out, "\x1b\x00\r\u202e") {
		t.Error("a control character reaches the terminal")
	}
	card := ModelCard(run)
	front, body, ok := strings.Cut(strings.TrimPrefix(card, "---\n"), "\n---\n")
	if !ok || strings.Contains(front, "\x1b") {
		t.Error("front matter is broken by a name")
	}
	code := regexp.MustCompile("(?ms)^(`{3,}).*?^(`{3,})$")
	body = code.ReplaceAllString(body, "")
	if strings.Contains(body, "<script") || strings.Contains(body, "<img") || strings.Contains(body, "\n# head") || strings.Contains(body, "\x1b") {
		t.Error("a name became markup in the card")
	}
	if !strings.Contains(card, "````sh\n") {
		t.Error("the command's own fence ends the code block")
	}
}

func TestResults(t *testing.T) {
	run := sample()
	slices.Reverse(run.Curve)
	lines := strings.Split(strings.TrimSpace(string(must(t)(ResultsJSONL(run)))), "\n")
	if len(lines) != 21 {
		t.Fatalf("%d rows, want 21", len(lines))
	}
	for i, l := range lines {
		var row map[string]float64
		if err := json.Unmarshal([]byte(l), &row); err != nil {
			t.Fatal(err)
		}
		p := run.points()[i]
		if row["alpha"] != p.Alpha || row["mnist:top1"] != p.Accuracy["mnist"].Top1 || len(row) != 10 {
			t.Errorf("row %d is %v", i, row)
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(must(t)(ResultsCSV(run)))).ReadAll()
	if err != nil || len(rows) != 22 || rows[0][4] != "mnist:top1" || rows[1][0] != "0" {
		t.Errorf("results.csv: %v, %d rows", err, len(rows))
	}
}

func TestWriteAll(t *testing.T) {
	dir := t.TempDir()
	run := sample()
	for range 2 { // the second time over the first one's files
		if err := WriteAll(dir, run); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"README.md", "alpha.svg", "frontier.svg", "report.html", "results.csv", "results.jsonl"}; !slices.Equal(names, want) {
		t.Errorf("wrote %v, want %v", names, want)
	}
	err = WriteAll(filepath.Join(dir, "none"), run)
	if err == nil || !strings.HasPrefix(err.Error(), "writing ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("into a missing directory: %v", err)
	}
	// A directory in the way of the last file: the others stay whole and no temporary file is left.
	block := t.TempDir()
	if err := os.MkdirAll(filepath.Join(block, "report.html", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteAll(block, run); err == nil {
		t.Error("no error though report.html is a directory")
	}
	left, err := filepath.Glob(filepath.Join(block, ".*.part"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	run := sample()
	run.Schema = 3
	if err := run.Encode(io.Discard); err == nil || !strings.Contains(err.Error(), "schema 3") {
		t.Errorf("schema: %v", err)
	}
	run = sample()
	run.Curve[0].Patching = 1.5
	if err := run.Encode(io.Discard); err == nil {
		t.Error("a mean of 1.5 was written")
	}
}
