package tokenizer

import (
	"bytes"
	"compress/gzip"
	"container/heap"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
)

// The vocabulary of OpenAI's CLIP, as OpenCLIP ships it; its licence lies beside it.
//
//go:embed bpe_simple_vocab_16e6.txt.gz
var vocabularyGz []byte

// maxVocabulary bounds the unpacked vocabulary, which is 3 MB.
const maxVocabulary = 8 << 20

// merges is CLIP's whole merge list. Symbol ids are 0 to 511 for bytes and byteSymbols+r for the product of merge r, so
// that a tokenizer with fewer merges only has to ignore higher ranks.
type merges struct {
	rank  map[uint64]int32 // pair of symbol ids -> rank
	left  []int32          // by rank
	right []int32
	// text of each symbol, as bytes; symbols that end a word are followed by a space on decoding.
	text   [][]byte
	ends   []bool
	byteID [256]int32 // id of the symbol of a byte inside a word; +256 at its end
}

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

var loadMerges = sync.OnceValues(func() (*merges, error) {
	z, err := gzip.NewReader(bytes.NewReader(vocabularyGz))
	if err != nil {
		return nil, fmt.Errorf("unpacking the vocabulary: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxVocabulary))
	if err != nil {
		return nil, fmt.Errorf("unpacking the vocabulary: %w", err)
	}
	return parseMerges(string(raw), CLIPVocabSize-byteSymbols-specialSymbols)
})

// parseMerges reads a vocabulary file: a line to skip, then one merge a line, two symbols apart by a space. Symbols are
// spelled in printable characters, one for each byte, with </w> after a symbol that ends a word.
func parseMerges(file string, n int) (*merges, error) {
	m := &merges{
		rank:  make(map[uint64]int32, n),
		left:  make([]int32, 0, n),
		right: make([]int32, 0, n),
		text:  make([][]byte, byteSymbols, byteSymbols+n),
		ends:  make([]bool, byteSymbols, byteSymbols+n),
	}
	ids := make(map[string]int32, byteSymbols+n) // by spelling
	var spelled [256]rune
	id := int32(0)
	add := func(b int, r rune) {
		spelled[b] = r
		ids[string(r)], ids[string(r)+"</w>"] = id, id+256
		m.text[id], m.text[id+256] = []byte{byte(b)}, []byte{byte(b)}
		m.ends[id+256] = true
		m.byteID[b] = id
		id++
	}
	// Bytes that are printable in Latin-1 come first and stand for themselves; the others follow, from U+0100 on.
	printable := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xA1 && b != 0xAD }
	for b := range 256 {
		if printable(b) {
			add(b, rune(b))
		}
	}
	next := rune(256)
	for b := range 256 {
		if !printable(b) {
			add(b, next)
			next++
		}
	}

	_, file, ok := strings.Cut(file, "\n")
	for r := range n {
		var line string
		if !ok {
			return nil, fmt.Errorf("reading the vocabulary: %d merges, want %d", r, n)
		}
		line, file, ok = strings.Cut(file, "\n")
		l, rt, two := strings.Cut(line, " ")
		a, okA := ids[l]
		b, okB := ids[rt]
		if !two || !okA || !okB {
			return nil, fmt.Errorf("reading the vocabulary: merge %d is %.40q, want two known symbols", r, line)
		}
		if _, dup := ids[l+rt]; dup {
			return nil, fmt.Errorf("reading the vocabulary: merge %d makes %.40q a second time", r, l+rt)
		}
		sym := int32(byteSymbols + r)
		ids[l+rt] = sym
		m.rank[pair(a, b)] = int32(r)
		m.left, m.right = append(m.left, a), append(m.right, b)
		m.text = append(m.text, bytes.Join([][]byte{m.text[a], m.text[b]}, nil))
		m.ends = append(m.ends, m.ends[b])
	}
	return m, nil
}

// appendBytes appends the text of symbol id.
func (m *merges) appendBytes(b []byte, id int32) []byte {
	b = append(b, m.text[id]...)
	if m.ends[id] {
		b = append(b, ' ')
	}
	return b
}

// wordCache keeps the ids of words seen. It is emptied when full, so that memory stays bounded whatever the texts.
type wordCache struct {
	mu sync.RWMutex
	m  map[string][]int32
}

const (
	cacheWords   = 1 << 15
	cacheWordLen = 48 // longer words are not kept
)

func (c *wordCache) get(w string) ([]int32, bool) {
	c.mu.RLock()
	ids, ok := c.m[w]
	c.mu.RUnlock()
	return ids, ok
}

func (c *wordCache) put(w string, ids []int32) {
	c.mu.Lock()
	if c.m == nil || len(c.m) >= cacheWords {
		c.m = make(map[string][]int32)
	}
	c.m[strings.Clone(w)] = ids
	c.mu.Unlock()
}

// appendWord appends the ids of one word. Each step merges the pair of lowest rank, the leftmost of equals; as no symbol is
// made by two merges, this gives what merging all equal pairs at a time gives.
func (t *Tokenizer) appendWord(dst []int32, word string) []int32 {
	if len(word) <= cacheWordLen {
		if ids, ok := t.cache.get(word); ok {
			return append(dst, ids...)
		}
		start := len(dst)
		dst = t.appendShort(dst, word)
		t.cache.put(word, append([]int32(nil), dst[start:]...))
		return dst
	}
	return t.appendLong(dst, word)
}

// rankOf is the rank of merging a and b, or a number above all ranks.
func (t *Tokenizer) rankOf(a, b int32) int32 {
	if r, ok := t.ranks.rank[pair(a, b)]; ok && int(r) < t.nMerges {
		return r
	}
	return 1 << 30
}

func (t *Tokenizer) appendBytesOf(dst []int32, word string) []int32 {
	for i := range len(word) {
		dst = append(dst, t.ranks.byteID[word[i]])
	}
	dst[len(dst)-1] += 256
	return dst
}

func (t *Tokenizer) appendShort(dst []int32, word string) []int32 {
	start := len(dst)
	dst = t.appendBytesOf(dst, word)
	syms := dst[start:]
	var buf [cacheWordLen]int32
	ranks := buf[:0] // ranks[i] is of syms[i], syms[i+1]
	for i := 1; i < len(syms); i++ {
		ranks = append(ranks, t.rankOf(syms[i-1], syms[i]))
	}
	for len(ranks) > 0 {
		best := 0
		for i, r := range ranks {
			if r < ranks[best] {
				best = i
			}
		}
		r := ranks[best]
		if r == 1<<30 {
			break
		}
		syms[best] = byteSymbols + r
		syms = append(syms[:best+1], syms[best+2:]...)
		ranks = append(ranks[:best], ranks[best+1:]...)
		if best > 0 {
			ranks[best-1] = t.rankOf(syms[best-1], syms[best])
		}
		if best < len(ranks) {
			ranks[best] = t.rankOf(syms[best], syms[best+1])
		}
	}
	return dst[:start+len(syms)]
}

// candidate is a pair that may be merged: the symbol at position at and the one after it.
type candidate struct {
	rank, at    int32
	left, right int32 // as they were when the pair was seen
}

type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)   { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	x := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return x
}

// appendLong does what appendShort does in n log n steps, for words that would take a quadratic number of them.
func (t *Tokenizer) appendLong(dst []int32, word string) []int32 {
	syms := t.appendBytesOf(make([]int32, 0, len(word)), word)
	prev, next := make([]int32, len(syms)), make([]int32, len(syms))
	for i := range syms {
		prev[i], next[i] = int32(i-1), int32(i+1)
	}
	n := int32(len(syms))
	const gone = -1
	var todo candidates
	see := func(i int32) {
		if i < 0 || next[i] >= n {
			return
		}
		a, b := syms[i], syms[next[i]]
		if r := t.rankOf(a, b); r < 1<<30 {
			heap.Push(&todo, candidate{rank: r, at: i, left: a, right: b})
		}
	}
	for i := range n {
		see(i)
	}
	for len(todo) > 0 {
		c := heap.Pop(&todo).(candidate)
		j := next[c.at]
		if syms[c.at] != c.left || j >= n || syms[j] != c.right {
			continue // one of the two has been merged since
		}
		syms[c.at], syms[j] = byteSymbols+c.rank, gone
		next[c.at] = next[j]
		if next[j] < n {
			prev[next[j]] = c.at
		}
		see(prev[c.at])
		see(c.at)
	}
	for i := int32(0); i < n; i = next[i] {
		dst = append(dst, syms[i])
	}
	return dst
}
