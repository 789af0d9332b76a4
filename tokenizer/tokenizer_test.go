package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

type entry struct {
	Text string
	IDs  []int32
}

func readEntries(tb testing.TB, name string) []entry {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	var es []entry
	if err := json.Unmarshal(b, &es); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return es
}

func newTokenizer(tb testing.TB, vocab, context int) *Tokenizer {
	tb.Helper()
	t, err := New(vocab, context)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// TestGolden compares every string of the fixture with OpenCLIP's ids.
func TestGolden(t *testing.T) {
	tok := newTokenizer(t, CLIPVocabSize, CLIPContextLength)
	es := readEntries(t, "tokens.json")
	if len(es) != 445 {
		t.Fatalf("%d texts, want 445", len(es))
	}
	for _, e := range es {
		if got := tok.Encode(e.Text); !slices.Equal(got, e.IDs) {
			t.Errorf("%q:\n got %v\nwant %v", e.Text, got, e.IDs)
		}
	}
}

// TestSmallVocabulary compares with the ids that the embedded model was trained on: 4096 symbols, padded to 24.
func TestSmallVocabulary(t *testing.T) {
	tok := newTokenizer(t, 4096, 24)
	if tok.SOT() != 4094 || tok.EOT() != 4095 || tok.VocabSize() != 4096 || tok.ContextLength() != 24 {
		t.Errorf("start %d, end %d, size %d, context %d", tok.SOT(), tok.EOT(), tok.VocabSize(), tok.ContextLength())
	}
	es := readEntries(t, "tokens_4096.json")
	if len(es) != 6 {
		t.Fatalf("%d texts, want 6", len(es))
	}
	var texts []string
	var want []int32
	for _, e := range es {
		texts, want = append(texts, e.Text), append(want, e.IDs...)
	}
	if got := tok.EncodeBatch(texts); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestClean holds texts and what Python's ftfy 6.3.1 and OpenCLIP's cleaning make of them.
func TestClean(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""},
		{"  A\t\nb\x1c\u3000c ", "a b c"},
		{"a &amp; b &lt;i&gt;", "a & b <i>"},
		{"< &amp;amp;amp; \n&amp;", "< &amp; &"}, // a "<" leaves only two rounds of entities
		{"&NTILDE;&SZLIG; &notit; &nGt;", "ñss ¬it; ≫⃒"},
		{"&#x80;&#150;&#0;&#1;&#xD800;&#99999999999;", "€–\uFFFD\uFFFD\uFFFD"},
		{"\x1b[31;1mred\x1b[0m \x1b[! \x07\ufeff", "red [!"},
		{"“q” ‘s’ ﬁﬀ ŉ Ǆ", "\"q\" 's' fiff 'n dž"},
		{"ＡＢＣ１ ﾊﾟﾊﾞ", "abc1 パバ"},
		{"e\u0301\u2028x\r\ny", "é x y"},
		{"İI ΑΣ ΑΣΑ Σ ΑΣ. ẞ", "i̇i ας ασα σ ας. ß"},
		{"cafÃ© schÃ¶n", "café schön"},
		{"Ã  la mode", "à la mode"},
		{"â€œ like this â€\uFFFD", "\" like this �"},
		{"ÃƒÂ©", "é"},
		{"РїСЂРёРІРµС‚", "привет"},
		{"Ã©\U0001f63a", "é\U0001f63a"},
		{"\xed\xa0\xbd\xed\xb8\xba \xed\xa0\xbd \xff", "\U0001f63a \uFFFD \uFFFD"},
		{"été à Â©", "été à ©"},
	} {
		if got := clean(c[0]); got != c[1] {
			t.Errorf("%q: got %+q, want %+q", c[0], got, c[1])
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"it's 42nd they'll", []string{"it", "'s", "4", "2", "nd", "they", "'ll"}},
		{"a!'s'x", []string{"a", "!'", "s", "'", "x"}},
		{"'ſ'd", []string{"'ſ", "'d"}},
		{"½a\u0345b", []string{"½", "a", "b"}},
		{"a<start_of_text>b", []string{"a", "<start_of_text>", "b"}},
		{"!<start_of_text>", []string{"!<", "start", "_", "of", "_", "text", ">"}},
		{"<end_of_text", []string{"<", "end", "_", "of", "_", "text"}},
		{"ab日本 中", []string{"ab日本", "中"}},
	} {
		var got []string
		for s := c.text; s != ""; {
			w, _, rest := next(s)
			if s = rest; w != "" {
				got = append(got, w)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestTruncation(t *testing.T) {
	tok := newTokenizer(t, CLIPVocabSize, 5)
	long := "a b c d e f g " + strings.Repeat("x", 1000)
	ids := tok.Encode(long)
	if len(ids) != 5 || ids[0] != tok.SOT() || ids[4] != tok.EOT() || slices.Contains(ids[1:4], tok.EOT()) {
		t.Errorf("got %v", ids)
	}
	if ids := tok.Encode("a b c"); len(ids) != 5 || ids[4] != tok.EOT() {
		t.Errorf("a text that just fits: %v", ids)
	}
	batch := tok.EncodeBatch([]string{"", long, "a"})
	want := append(append([]int32{tok.SOT(), tok.EOT(), 0, 0, 0}, ids...), tok.SOT(), 320, tok.EOT(), 0, 0)
	if !slices.Equal(batch, want) {
		t.Errorf("got %v, want %v", batch, want)
	}
}

// TestLongWords holds the two ways of merging to each other, on words that repeat and words that don't.
func TestLongWords(t *testing.T) {
	for _, vocab := range []int{514, 600, 4096, CLIPVocabSize} {
		tok := newTokenizer(t, vocab, CLIPContextLength)
		for _, e := range readEntries(t, "tokens.json") {
			word := strings.ReplaceAll(clean(e.Text), " ", "")
			for _, w := range []string{word, strings.Repeat("x", len(word)), strings.Repeat("ha", len(word)/2)} {
				if w = w[:min(len(w), cacheWordLen)]; w == "" {
					continue
				}
				a, b := tok.appendShort(nil, w), tok.appendLong(nil, w)
				if !slices.Equal(a, b) {
					t.Errorf("%d symbols, %q: %v and %v", vocab, w, a, b)
				}
			}
		}
	}
}

func TestDecode(t *testing.T) {
	tok := newTokenizer(t, CLIPVocabSize, CLIPContextLength)
	for _, c := range []struct {
		ids  []int32
		want string
	}{
		{tok.Encode("A photo of 2 Cats!"), "<start_of_text>a photo of 2 cats ! <end_of_text>"},
		{tok.Encode("日本 naïve"), "<start_of_text>日本 naïve <end_of_text>"},
		{[]int32{0, -1, 49408}, "!\uFFFD\uFFFD"},
		{nil, ""},
	} {
		if got := tok.Decode(c.ids); got != c.want {
			t.Errorf("%v: got %q, want %q", c.ids, got, c.want)
		}
	}
	// F0 9F is the start of one character, E3 the start of another, FF none: one U+FFFD each, as in Python.
	if got := replaceInvalid([]byte("a\xf0\x9f\xe3\xff\xc0\x80b\xed\xa0")); got != "a\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDb\uFFFD\uFFFD" {
		t.Errorf("got %q", got)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range [][2]int{{513, 77}, {0, 77}, {49409, 77}, {-1, 77}, {4096, 1}, {4096, -1}, {4096, 1 << 30}} {
		if tok, err := New(c[0], c[1]); err == nil || tok != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", c, err)
		}
	}
	for _, bad := range []string{"", "version\n", "version\ni n\n", "version\ni n\ni n\nx y", "version\ni\nx y\nz z", "version\ni notasymbol\na b\nc d\n"} {
		if m, err := parseMerges(bad, 3); err == nil || m != nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestConcurrent(t *testing.T) {
	tok := newTokenizer(t, CLIPVocabSize, CLIPContextLength)
	es := readEntries(t, "tokens.json")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range es {
				e := es[(i*7+g*31)%len(es)]
				if got := tok.Encode(e.Text); !slices.Equal(got, e.IDs) {
					t.Errorf("%q: got %v", e.Text, got)
				}
			}
		})
	}
	wg.Wait()
}

// TestCacheBounded encodes more words than the cache may hold.
func TestCacheBounded(t *testing.T) {
	tok := newTokenizer(t, 4096, CLIPContextLength)
	for i := range cacheWords + 100 {
		tok.appendWord(nil, fmt.Sprintf("w%x", i))
	}
	if n := len(tok.cache.m); n == 0 || n > cacheWords {
		t.Errorf("%d words kept, at most %d", n, cacheWords)
	}
}

func FuzzEncode(f *testing.F) {
	for _, e := range readEntries(f, "tokens.json") {
		f.Add(e.Text)
	}
	f.Add("\xed\xa0\xbd\xed\xb8\xba\xff&#x110000;&\x1b[;1\u0663m")
	f.Add("Ã\x20Ã\u00a0â€\ufffd\x1a?")
	tok := newTokenizer(f, CLIPVocabSize, CLIPContextLength)
	f.Fuzz(func(t *testing.T, s string) {
		ids := tok.Encode(s)
		if len(ids) < 2 || len(ids) > CLIPContextLength || ids[0] != tok.SOT() || ids[len(ids)-1] != tok.EOT() {
			t.Fatalf("%q: ids %v", s, ids)
		}
		for _, id := range ids {
			if id < 0 || id > tok.EOT() {
				t.Fatalf("%q: id %d", s, id)
			}
		}
		if d := tok.Decode(ids); !utf8.ValidString(d) {
			t.Fatalf("%q: decoded %q", s, d)
		}
		if c := clean(s); !utf8.ValidString(c) || strings.Contains(c, "  ") || c != strings.Trim(c, " \t\n") {
			t.Fatalf("%q: cleaned %q", s, c)
		}
	})
}

func benchmarkTexts(b *testing.B, texts []string) {
	tok := newTokenizer(b, CLIPVocabSize, CLIPContextLength)
	b.ReportAllocs()
	for b.Loop() {
		tok.EncodeBatch(texts)
	}
	b.ReportMetric(float64(len(texts)*b.N)/b.Elapsed().Seconds(), "texts/s")
}

func BenchmarkPrompts(b *testing.B) {
	var texts []string
	for _, c := range []string{"golden retriever", "espresso maker", "annual crop land", "speed limit 20", "hot-air balloon"} {
		for _, t := range []string{"a photo of a %s.", "a bad photo of the %s.", "itap of my %s.", "a low-resolution picture of many %ss"} {
			texts = append(texts, fmt.Sprintf(t, c))
		}
	}
	benchmarkTexts(b, texts)
}

func BenchmarkFixture(b *testing.B) {
	var texts []string
	for _, e := range readEntries(b, "tokens.json") {
		texts = append(texts, e.Text)
	}
	benchmarkTexts(b, texts)
}
