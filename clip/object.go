package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxConfig = 1 << 20 // bytes of a configuration file; real ones have a few thousand
	maxSize   = 1 << 20 // of any count in one; far above any model's
	maxNested = 32
)

// object reads a JSON object strictly: every key is asked for, allowed with some values, or ignored by name; what is
// left is an error. Keys are told apart by case. The first error stays; every message is one line.
type object struct {
	path string                     // "text_config", for messages
	m    map[string]json.RawMessage // never nil
	err  error
}

// parseDocument reads a whole file that holds one object.
func parseDocument(b []byte) *object {
	o := &object{m: map[string]json.RawMessage{}}
	if err := scan(b); err != nil {
		o.err = err
		return o
	}
	return parseObject("", b)
}

func parseObject(path string, v json.RawMessage) *object {
	o := &object{path: path}
	if json.Unmarshal(v, &o.m) != nil || o.m == nil {
		o.m = map[string]json.RawMessage{}
		if path == "" {
			o.err = fmt.Errorf("the file holds %s, want an object", brief(v))
		} else {
			o.err = fmt.Errorf("%s is %s, want an object", path, brief(v))
		}
	}
	return o
}

// scan checks what encoding/json lets pass: text that is no UTF-8, and a key that an object has twice, of which it
// would take the last.
func scan(b []byte) error {
	if len(b) > maxConfig {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(b), maxConfig)
	}
	if !utf8.Valid(b) {
		return errors.New("is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := scanValue(d, b, "", 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("text after the end of the JSON, at byte %d", d.InputOffset())
	}
	return nil
}

func scanValue(d *json.Decoder, b []byte, path string, depth int) error {
	if depth > maxNested {
		return fmt.Errorf("%s is nested over %d deep", path, maxNested)
	}
	before := d.InputOffset()
	tok, err := d.Token()
	if err != nil {
		return notJSON(b, before, path, err)
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		child := path
		if open == '{' {
			before = d.InputOffset()
			tok, err := d.Token()
			key, ok := tok.(string)
			if err != nil || !ok {
				return notJSON(b, before, path, err)
			}
			child = (&object{path: path}).name(key)
			if seen[key] {
				return fmt.Errorf("%s is there twice", child)
			}
			seen[key] = true
		}
		if err := scanValue(d, b, child, depth+1); err != nil {
			return err
		}
	}
	before = d.InputOffset()
	if _, err := d.Token(); err != nil { // the closing bracket
		return notJSON(b, before, path, err)
	}
	return nil
}

// notJSON names the word that is no JSON value: Python writes NaN and Infinity.
func notJSON(b []byte, at int64, path string, err error) error {
	rest := bytes.TrimLeft(b[min(int(at), len(b)):], " \t\r\n:,")
	n := 0
	for n < len(rest) && n < 40 && (rest[n]|0x20 >= 'a' && rest[n]|0x20 <= 'z' || rest[n] >= '0' && rest[n] <= '9' || strings.IndexByte("+-._", rest[n]) >= 0) {
		n++
	}
	if path == "" || n == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("not JSON at byte %d: %w", at, err)
	}
	return fmt.Errorf("%s is %s, which is no JSON value", path, rest[:n])
}

// brief is a value as text for a message: one line, printable, short.
func brief(v json.RawMessage) string {
	var c bytes.Buffer
	if json.Compact(&c, v) != nil {
		c.Reset()
		c.Write(v)
	}
	var s strings.Builder
	for i, r := range c.String() {
		if i > 60 {
			s.WriteString("...")
			break
		}
		if unicode.IsPrint(r) {
			s.WriteRune(r)
		} else {
			s.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return s.String()
}

// name is the key with the path before it, quoted where it is no plain word.
func (o *object) name(key string) string {
	plain := func(r rune) bool {
		return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if len(key) > 60 {
		key = strings.ToValidUTF8(key[:60], "") + "..."
	}
	if key == "" || strings.IndexFunc(key, func(r rune) bool { return !plain(r) }) >= 0 {
		key = strconv.QuoteToASCII(key)
	}
	switch {
	case o.path == "":
		return key
	case len(o.path) > 200: // nested for no good: the names of its outer levels will do
		return o.path
	}
	return o.path + "." + key
}

func (o *object) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf(format, args...)
	}
}

// take removes a key and returns its value, nil where it is absent or null.
func (o *object) take(key string) json.RawMessage {
	v := o.m[key]
	delete(o.m, key)
	if bytes.Equal(v, []byte("null")) {
		return nil
	}
	return v
}

// read decodes the value of a key into dst, and reports whether there was one. null is refused: no library reads it as
// the default of a number or a string.
func (o *object) read(key string, dst any, want string) bool {
	v, ok := o.m[key]
	delete(o.m, key)
	if !ok {
		return false
	}
	if bytes.Equal(v, []byte("null")) || json.Unmarshal(v, dst) != nil {
		o.fail("%s is %s, want %s", o.name(key), brief(v), want)
		return false
	}
	return true
}

// size reads a count; it is in range whatever the file holds.
func (o *object) size(key string, def int) int {
	var v int
	if !o.read(key, &v, "a whole number") {
		return def
	}
	if v < 1 || v > maxSize {
		o.fail("%s is %d, want 1 to %d", o.name(key), v, maxSize)
		return def
	}
	return v
}

// id reads the id of a token.
func (o *object) id(key string, def int) int {
	var v int
	if !o.read(key, &v, "a whole number") {
		return def
	}
	if v < 0 || v >= maxSize {
		o.fail("%s is %d, want 0 to %d", o.name(key), v, maxSize-1)
		return def
	}
	return v
}

func (o *object) string(key string, def string) string { o.read(key, &def, "a string"); return def }

func (o *object) bool(key string, def bool) bool {
	if v := o.take(key); v != nil && json.Unmarshal(v, &def) != nil {
		o.fail("%s is %s, want true or false", o.name(key), brief(v))
	}
	return def
}

// between reads a number above lo and up to hi.
func (o *object) between(key string, def, lo, hi float64) float64 {
	var v float64
	if !o.read(key, &v, "a number") {
		return def
	}
	if !(v > lo && v <= hi) {
		o.fail("%s is %g, want over %g, up to %g", o.name(key), v, lo, hi)
		return def
	}
	return v
}

// eps is what a LayerNorm adds to a variance.
func (o *object) eps(key string) float64 { return o.between(key, 1e-5, 0, 1) }

// mlp is the hidden width of a block's MLP by its ratio to the block's, cut as open_clip does.
func (o *object) mlp(width int) int {
	r := o.between("mlp_ratio", 4, 0, maxSize)
	n := r * float64(width)
	if n < 1 || n > maxSize {
		o.fail("%s is %g: MLPs of %g units, want 1 to %d", o.name("mlp_ratio"), r, n, maxSize)
		return 4 * width
	}
	return int(n)
}

// multiple requires that one size is a multiple of another.
func (o *object) multiple(key string, n int, of string, d int) {
	if n%d != 0 {
		o.fail("%s is %d, no multiple of %s, which is %d", o.name(key), n, of, d)
	}
}

// triple reads a number for each of red, green and blue, or one for all.
func (o *object) triple(key string, def [3]float64, lo float64) [3]float64 {
	v := o.take(key)
	if v == nil {
		return def
	}
	var one float64
	var each []*float64
	if json.Unmarshal(v, &one) == nil {
		each = []*float64{&one, &one, &one}
	} else if json.Unmarshal(v, &each) != nil || len(each) != 3 || slices.Contains(each, nil) {
		o.fail("%s is %s, want 3 numbers", o.name(key), brief(v))
		return def
	}
	for i, x := range each {
		if math.Abs(*x) > 1e6 || *x <= lo {
			o.fail("%s is %s, want numbers over %g, up to 1e6", o.name(key), brief(v), lo)
			return def
		}
		def[i] = *x
	}
	return def
}

// optional returns the object under key, nil where it is absent or null.
func (o *object) optional(key string) *object {
	v := o.take(key)
	if v == nil {
		return nil
	}
	return parseObject(o.name(key), v)
}

// object returns the object under key, an empty one where it is absent or null.
func (o *object) object(key string) *object {
	if c := o.optional(key); c != nil {
		return c
	}
	return &object{path: o.name(key), m: map[string]json.RawMessage{}}
}

// required is object for a key that must be there.
func (o *object) required(key string) *object {
	c := o.optional(key)
	if c == nil {
		o.fail("%s is missing", o.name(key))
		return &object{path: o.name(key), m: map[string]json.RawMessage{}}
	}
	return c
}

// only refuses values of key other than null and the given JSON texts.
func (o *object) only(key string, texts ...string) {
	v := o.take(key)
	if v == nil {
		return
	}
	var b bytes.Buffer
	if json.Compact(&b, v) == nil && slices.Contains(texts, b.String()) {
		return
	}
	if len(texts) == 0 {
		texts = []string{"null"}
	}
	o.fail("%s is %s, this engine covers %s", o.name(key), brief(v), strings.Join(texts, ", "))
}

// ignore drops keys that do not change what a model computes.
func (o *object) ignore(keys ...string) {
	for _, k := range keys {
		delete(o.m, k)
	}
}

// done returns the first error of o and its children, or one about a key that nothing asked for.
func (o *object) done(children ...*object) error {
	all := append([]*object{o}, children...)
	for _, c := range all {
		if c.err != nil {
			return c.err
		}
	}
	for _, c := range all {
		for _, k := range slices.Sorted(maps.Keys(c.m)) {
			return fmt.Errorf("%s is %s: unknown key", c.name(k), brief(c.m[k]))
		}
	}
	return nil
}
