package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// idx is an IDX file of unsigned bytes with these sizes and data.
func idx(data []byte, dims ...uint32) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, data...)
}

// images is an IDX file of n images of 2 x 3 pixels; pixel k of the file is k.
func images(n int) []byte {
	data := make([]byte, 6*n)
	for i := range data {
		data[i] = byte(i)
	}
	return idx(data, uint32(n), 2, 3)
}

// labels is an IDX file of n labels 0, 1, ..., classes-1, 0, ...
func labels(n, classes int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i % classes)
	}
	return idx(data, uint32(n))
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadIDX(t *testing.T) {
	for how, pack := range map[string]func(testing.TB, []byte) []byte{
		"plain":   func(_ testing.TB, b []byte) []byte { return b },
		"gzipped": gz,
	} {
		d, err := ReadIDX(fstest.MapFS{"i": {Data: pack(t, images(4))}, "l": {Data: pack(t, labels(4, 3))}}, "i", "l", 3)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if d.Len() != 4 || d.Label(2) != 2 || d.Label(3) != 0 || d.Group(3) != 3 || d.ID(1) != "i[1]" {
			t.Errorf("%s: %d examples, labels %d %d, group %d, ID %s", how, d.Len(), d.Label(2), d.Label(3), d.Group(3), d.ID(1))
		}
		img, err := d.Image(1)
		if err != nil {
			t.Fatal(err)
		}
		if img.W != 3 || img.H != 2 || !bytes.Equal(img.Pix, []byte{6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10, 11, 11, 11}) {
			t.Errorf("%s: image 1 is %+v", how, img)
		}
		// sha256 of the bytes 00 00 08 01 00 00 00 04 00 01 02 00
		if got := d.Contents["l"]; got != "aa8d9c3040a6303909604492776c9d93556942abf4515506bc82db1cb12a88fc" {
			t.Errorf("%s: sha256 of the labels %s", how, got)
		}
		if (d.Checksums["l"] == d.Contents["l"]) != (how == "plain") {
			t.Errorf("%s: checksums %v, of contents %v", how, d.Checksums, d.Contents)
		}
	}
}

func TestReadIDXErrors(t *testing.T) {
	cut := gz(t, images(4))
	cut = cut[:len(cut)-9]
	wrongSum := gz(t, images(4))
	wrongSum[len(wrongSum)-8] ^= 1
	for _, c := range []struct {
		name           string
		images, labels []byte
		want           string
	}{
		{"empty", nil, labels(4, 3), "0 bytes, a header of 3 sizes needs 16"},
		{"cut header", images(4)[:11], labels(4, 3), "11 bytes, a header of 3 sizes needs 16"},
		{"other type", append([]byte{0, 0, 0x0d, 3}, images(4)[4:]...), labels(4, 3), "starts with 00 00 0d, want 00 00 08"},
		{"other file", []byte("PK\x03\x04 a zip file, surely"), labels(4, 3), "starts with 50 4b 03"},
		{"labels for images", labels(40, 3), labels(4, 3), "1 sizes, want 3"},
		{"images for labels", images(4), images(4), "3 sizes, want 1"},
		{"truncated", images(4)[:30], labels(4, 3), "sizes [4 2 3] need 24 bytes, 14 are there"},
		{"trailing", append(images(4), 0), labels(4, 3), "need 24 bytes, more are there"},
		{"huge", idx(nil, 1<<31, 28, 28), labels(4, 3), "need more than 1073741824 bytes"},
		{"overflow", idx(nil, 1<<22, 4096, 4096), labels(4, 3), "need more than"},
		{"a header that promises", idx(nil, 1<<18, 64, 64), labels(4, 3), "need 1073741824 bytes, 0 are there"},
		{"no side", idx(nil, 4, 0, 28), labels(4, 3), "side of the images is 0, want 1 to 4096"},
		{"long side", idx(nil, 1, 5000, 28), labels(4, 3), "side of the images is 5000"},
		{"none", idx(nil, 0, 2, 3), labels(4, 3), "no examples"},
		{"fewer labels", images(4), labels(3, 3), `4 images, but 3 labels in "l"`},
		{"label out of range", images(4), labels(4, 4), "label 3 is 3, the task has 3 classes"},
		{"cut gzip", cut, labels(4, 3), "unexpected EOF"},
		{"gzip with a wrong checksum", wrongSum, labels(4, 3), "checksum"},
		{"gzip header alone", []byte{0x1f, 0x8b}, labels(4, 3), "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadIDX(fstest.MapFS{"i": {Data: c.images}, "l": {Data: c.labels}}, "i", "l", 3)
			wantError(t, err, "reading IDX ", c.want)
		})
	}
	_, err := ReadIDX(fstest.MapFS{"i": {Data: images(4)}}, "i", "l", 3)
	wantError(t, err, "reading IDX", "l", "not exist")
}

func TestOpenIDXPair(t *testing.T) {
	dir := onDisk(t, fstest.MapFS{"x/train-images.idx": {Data: images(40)}, "y/train-labels.idx": {Data: gz(t, labels(40, 4))}})
	i, l := filepath.Join(dir, "x", "train-images.idx"), filepath.Join(dir, "y", "train-labels.idx")
	d, err := OpenIDXPair(i, l, 4)
	if err != nil || d.Len() != 40 {
		t.Fatalf("%v, %v", d, err)
	}
	ref := i + "," + l
	task, err := Open(ref, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(task.Classes, []string{"0", "1", "2", "3"}) || task.Name != "train-images" || task.Source != ref ||
		task.Train.Len() != 32 || task.Validation.Len() != 4 || task.Test.Len() != 4 || len(task.Checksums) != 2 {
		t.Errorf("%+v: %d, %d, %d", task, task.Train.Len(), task.Validation.Len(), task.Test.Len())
	}
	_, err = Open(i+","+filepath.Join(dir, "none"), "")
	wantError(t, err, "opening task", "none")
}

func TestOpenIDXFolder(t *testing.T) {
	m := fstest.MapFS{
		"train-images-idx3-ubyte":    {Data: images(40)},
		"train-labels-idx1-ubyte.gz": {Data: gz(t, labels(40, 4))},
		"t10k-images.idx3-ubyte":     {Data: images(6)},
		"t10k-labels-idx1-ubyte":     {Data: labels(6, 3)},
	}
	task, err := Open(onDisk(t, m), "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(task.Classes, []string{"0", "1", "2", "3"}) || task.Train.Len() != 36 || task.Validation.Len() != 4 || task.Test.Len() != 6 ||
		!slices.Equal(task.Templates, []string{DefaultTemplate}) || len(task.Checksums) != 4 {
		t.Errorf("%+v", task)
	}
	if id := task.Test.ID(2); !strings.HasSuffix(id, "/test[2]") {
		t.Errorf("ID %q", id)
	}
	m["classes.txt"] = &fstest.MapFile{Data: []byte("w\nx\ny\nz\n")}
	m["templates.txt"] = &fstest.MapFile{Data: []byte("the letter {}\n")}
	if task, err = Open(onDisk(t, m), ""); err != nil || !slices.Equal(task.Classes, []string{"w", "x", "y", "z"}) || task.Templates[0] != "the letter {}" {
		t.Errorf("%+v, %v", task, err)
	}
	m["classes.txt"] = &fstest.MapFile{Data: []byte("w\nx\ny\n")}
	_, err = Open(onDisk(t, m), "")
	wantError(t, err, "label 3 is 3, the task has 3 classes")
	delete(m, "classes.txt")
	delete(m, "t10k-labels-idx1-ubyte")
	_, err = Open(onDisk(t, m), "")
	wantError(t, err, "t10k-labels-idx1-ubyte")
	delete(m, "t10k-images.idx3-ubyte")
	if task, err = Open(onDisk(t, m), ""); err != nil || task.Train.Len() != 32 || task.Test.Len() != 4 {
		t.Errorf("train files alone: %+v, %v", task, err)
	}
}

func TestKnown(t *testing.T) {
	if len(List()) != 2 {
		t.Errorf("%d known data sets", len(List()))
	}
	for _, k := range List() {
		got, ok := Known(k.Name)
		if !ok || got.Title != k.Title || len(k.Classes) != 10 || len(k.Files) != 4 || k.Licence == "" {
			t.Errorf("%+v", k)
		}
		for _, f := range k.Files {
			if len(f.SHA256) != 64 || f.Bytes == 0 {
				t.Errorf("%s: %+v", k.Name, f)
			}
		}
		data := t.TempDir()
		_, err := Open(k.Name, data)
		wantError(t, err, k.Name, "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", k.Dir(data), "not exist")
		// The right names with other contents.
		m := fstest.MapFS{}
		for _, f := range k.Files {
			b := images(40)
			if strings.Contains(f.Name, "labels") {
				b = labels(40, 4)
			}
			m[k.Home+"/"+f.Name+".gz"] = &fstest.MapFile{Data: gz(t, b)}
		}
		data = onDisk(t, m)
		if !k.Present(data) {
			t.Errorf("%s is not present", k.Name)
		}
		_, err = Open(k.Name, data)
		wantError(t, err, "opening task", k.Name, "train-images-idx3-ubyte", "sha256", k.Files[0].SHA256)
		if err := os.Remove(filepath.Join(k.Dir(data), "t10k-labels-idx1-ubyte.gz")); err != nil {
			t.Fatal(err)
		}
		_, err = Open(k.Name, data)
		wantError(t, err, "t10k-labels-idx1-ubyte")
		if strings.Contains(err.Error(), "train") {
			t.Errorf("files that are there are called missing: %v", err)
		}
	}
	if _, ok := Known("cifar10"); ok {
		t.Error("cifar10 is known")
	}
}

// FuzzReadIDX: whatever the files hold, reading ends in an error or in a part whose every example can be used.
func FuzzReadIDX(f *testing.F) {
	f.Add(images(4), labels(4, 3))
	f.Add(gz(f, images(4)), gz(f, labels(4, 3)))
	f.Add(idx(nil, 1<<31, 28, 28), labels(4, 3))
	f.Add(images(4)[:30], labels(3, 3))
	f.Add([]byte{0x1f, 0x8b, 8}, []byte{})
	f.Add(idx([]byte{1, 2, 3}, 3, 1, 1), idx([]byte{0, 9, 2}, 3))
	f.Fuzz(func(t *testing.T, i, l []byte) {
		d, err := ReadIDX(fstest.MapFS{"i": {Data: i}, "l": {Data: l}}, "i", "l", 5)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		for k := range d.Len() {
			img, err := d.Image(k)
			if err != nil || len(img.Pix) != 3*img.W*img.H || d.Label(k) < 0 || d.Label(k) >= 5 {
				t.Fatalf("example %d: %v, label %d", k, err, d.Label(k))
			}
		}
	})
}
