package preprocess

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tensor is one entry of a safetensors file.
type tensor struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
	data    []byte
}

// golden reads a gzip of a safetensors file in testdata.
func golden(t *testing.T, name string) map[string]tensor {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &raw); err != nil {
		t.Fatal(err)
	}
	m := map[string]tensor{}
	for k, v := range raw {
		if k == "__metadata__" {
			continue
		}
		var x tensor
		if err := json.Unmarshal(v, &x); err != nil {
			t.Fatal(err)
		}
		x.data = b[8+n:][x.Offsets[0]:x.Offsets[1]]
		m[k] = x
	}
	return m
}

func (x tensor) image() *Image { return &Image{W: x.Shape[1], H: x.Shape[0], Pix: x.data} }

func (x tensor) float(i int) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(x.data[4*i:])))
}

func compare(t *testing.T, name string, got, want []uint8) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	most, differ := 0, 0
	for i := range got {
		if d := int(got[i]) - int(want[i]); d != 0 {
			most = max(most, d, -d)
			differ++
		}
	}
	if differ > 0 {
		t.Errorf("%s: %d of %d values differ, by up to %d levels", name, differ, len(got), most)
	}
}

// Every image of the fixtures, decoded, resized and cropped, equals what Pillow and torchvision make of it.
func TestGolden(t *testing.T) {
	images := map[string]*Image{}
	counted := map[string]int{}
	for key, want := range golden(t, "crops.safetensors.gz") {
		parts := strings.Split(key, "|")
		name, kind := parts[0], parts[1]
		size, err := strconv.Atoi(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		if images[name] == nil {
			img, err := DecodeFile(filepath.Join("testdata", "images", name))
			if err != nil {
				t.Error(err)
				continue
			}
			images[name] = img
		}
		img := images[name]
		counted[kind]++
		tr := clip(size)
		switch kind {
		case "decoded_rgb":
			compare(t, key, img.Pix, want.data)
		case "rgbfirst":
			compare(t, key, planes(tr.Crop8(img)), want.data)
		case "normalized":
			got := make([]float32, 3*size*size)
			tr.Apply(got, img)
			for i, g := range got {
				if w := want.float(i); math.Abs(float64(g)-w) > 1e-6 {
					t.Errorf("%s: element %d is %g, want %g", key, i, g, w)
					break
				}
			}
		}
	}
	if len(images) != 39 || counted["rgbfirst"] < 39 || counted["normalized"] == 0 || counted["decoded_rgb"] == 0 {
		t.Errorf("%d images, comparisons %v: the fixtures are not complete", len(images), counted)
	}
}

// clip is OpenAI's transform.
func clip(size int) Transform {
	return Transform{Size: size, Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711}}
}

// TestPillow compares with more of Pillow's results: decoded variants of the formats, resizes in both orders of the passes, and
// OpenCLIP's pixel_values.
func TestPillow(t *testing.T) {
	m := golden(t, "pillow.safetensors.gz")
	files, resizes, pixels := 0, 0, 0
	for key, x := range m {
		kind, name, _ := strings.Cut(key, "|")
		switch kind {
		case "file":
			files++
			want := m["rgb|"+name]
			img, err := Decode(x.data)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if img.W != want.Shape[1] || img.H != want.Shape[0] {
				t.Errorf("%s: %d x %d, want %v", name, img.W, img.H, want.Shape)
			} else {
				compare(t, name, img.Pix, want.data)
			}
		case "in":
			resizes++
			want := m["out|"+name].image()
			compare(t, name, Resize(x.image(), want.W, want.H).Pix, want.Pix)
		case "pixel_values":
			n := len(x.data) / 4 / x.Shape[0]
			got := make([]float32, n)
			for i := range x.Shape[0] {
				pixels++
				clip(x.Shape[2]).Apply(got, m["image_u8."+strconv.Itoa(i)].image())
				for j, g := range got {
					if w := x.float(i*n + j); math.Abs(float64(g)-w) > 1e-6 {
						t.Errorf("image %d: element %d is %g, want %g", i, j, g, w)
						break
					}
				}
			}
		}
	}
	if files != 57 || resizes != 14 || pixels != 4 {
		t.Errorf("%d files, %d resizes, %d images: the fixture is not complete", files, resizes, pixels)
	}
}

// planes is [3, H, W].
func planes(img *Image) []uint8 {
	n := img.W * img.H
	out := make([]uint8, 3*n)
	for i := range n {
		for c := range 3 {
			out[c*n+i] = img.Pix[3*i+c]
		}
	}
	return out
}
