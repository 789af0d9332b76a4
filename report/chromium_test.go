//go:build chromium

package report

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// browser opens address in a real headless Chromium and gives the document after its scripts ran, and what the browser
// logged.
func browser(t *testing.T, address string) (dom, log string) {
	t.Helper()
	var exe string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			exe = p
			break
		}
	}
	if exe == "" {
		t.Fatal("no chromium on the path")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--enable-logging=stderr", "--dump-dom", address)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}

// rootAttr is an attribute of the html element.
func rootAttr(t *testing.T, dom, key string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(dom))
	if err != nil {
		t.Fatal(err)
	}
	for n := doc.FirstChild; n != nil; n = n.NextSibling {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			if a.Key == key {
				return a.Val
			}
		}
	}
	return ""
}

func TestChromium(t *testing.T) {
	evil := sample()
	const name = `</script><script>document.documentElement.setAttribute("data-owned","1")</script><img src=x onerror='document.documentElement.setAttribute("data-owned","2")'>`
	evil.Patching = []string{name}
	for i := range evil.Curve {
		evil.Curve[i].Accuracy[name] = evil.Curve[i].Accuracy["mnist"]
	}
	cases := map[string]*Run{"sample": sample(), "several": several(), "hostile names": evil}
	for k, r := range degenerate() {
		cases[k] = r
	}
	for k, run := range cases {
		t.Run(k, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "report.html")
			if err := os.WriteFile(path, page1(t, run), 0o644); err != nil {
				t.Fatal(err)
			}
			address := url.URL{Scheme: "file", Path: filepath.ToSlash(path), Fragment: "alpha=0.7"}
			dom, log := browser(t, address.String())
			if strings.Contains(log, "CONSOLE") {
				t.Errorf("the browser complains:\n%s", log)
			}
			if e := rootAttr(t, dom, "data-slider-error"); e != "" {
				t.Errorf("the script failed: %s", e)
			}
			if o := rootAttr(t, dom, "data-owned"); o != "" {
				t.Error("a name ran as a script")
			}
			if len(run.Curve) == 0 {
				return
			}
			if rootAttr(t, dom, "data-slider") != "ready" {
				t.Fatal("the slider's script did not run")
			}
			pts := run.points()
			want := run.explore(pts).Alpha
			if i := at(pts, 0.7); i >= 0 {
				want = run.alphaText(0.7)
				row := run.explore(pts).Data[i]
				for _, cell := range row.Cells {
					if !strings.Contains(dom, ">"+cell+"<") {
						t.Errorf("the table does not show %q at alpha 0.7", cell)
					}
				}
			}
			if got := rootAttr(t, dom, "data-alpha"); got != want {
				t.Errorf("the page shows alpha %q, want %q", got, want)
			}
		})
	}
	t.Run("comparison", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "compare.html")
		if err := os.WriteFile(path, must(t)(Compare([]Named{{"a", sample()}, {name, evil}})), 0o644); err != nil {
			t.Fatal(err)
		}
		dom, log := browser(t, (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String())
		if strings.Contains(log, "CONSOLE") || rootAttr(t, dom, "data-owned") != "" {
			t.Errorf("the browser complains, or a name ran as a script:\n%s", log)
		}
	})
}
