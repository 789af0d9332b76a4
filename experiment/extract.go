package experiment

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"paint/checkpoint"
	"paint/dataset"
	"paint/preprocess"
)

// Extract writes a task as a new folder of PNG files, DIR/SPLIT/CLASS/N.png, with classes.txt and templates.txt: what
// OpenTask reads back as the same task. The folder appears when it is complete.
func Extract(t *dataset.Task, dir string) error {
	folders := make([]string, len(t.Classes))
	var classes strings.Builder
	for i, c := range t.Classes {
		// The number keeps the order of the classes and tells apart names that differ in punctuation only.
		folders[i] = fmt.Sprintf("%03d_%s", i, plainName(c))
		fmt.Fprintf(&classes, "%s\n", c)
	}
	return checkpoint.WriteDir(dir, func(tmp string) error {
		for _, s := range []Split{Train, Validation, Test} {
			p, err := part(t, s)
			if err != nil {
				continue // a task need not have every part
			}
			for i := range p.Len() {
				img, err := p.Image(i)
				if err != nil {
					return err
				}
				d := filepath.Join(tmp, string(s), folders[p.Label(i)])
				if err := os.MkdirAll(d, 0o777); err != nil {
					return err
				}
				// Views of one thing share what stands before "--", so that the folder has the same groups.
				if err := writePNG(filepath.Join(d, fmt.Sprintf("%05d--%05d.png", p.Group(i), i)), img); err != nil {
					return err
				}
			}
		}
		if err := os.WriteFile(filepath.Join(tmp, "classes.txt"), []byte(classes.String()), 0o666); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tmp, "templates.txt"), []byte(strings.Join(t.Templates, "\n")+"\n"), 0o666)
	})
}

// plainName keeps letters and digits of a class name, for a folder's name on any system.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '_'
	}, s)
}

func writePNG(path string, img *preprocess.Image) error {
	m := image.NewNRGBA(image.Rect(0, 0, img.W, img.H))
	for i := range img.W * img.H {
		copy(m.Pix[4*i:], img.Pix[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := png.Encode(f, m); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
