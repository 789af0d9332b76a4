// Package tokenizer turns text into CLIP's token ids.
//
// The ids equal those of OpenCLIP 3.3.0's SimpleTokenizer: the text is cleaned (ftfy 6.3.1 with its repair of wrongly decoded
// text, HTML entities, white space, lower case), split by CLIP's pattern, and each piece is cut into byte pairs by the merge
// list embedded here. New builds a Tokenizer, for CLIP's 49408 ids or for a smaller vocabulary that uses the first merges of
// the same list; Encode gives the ids of one text, EncodeBatch a padded matrix, Decode the text of ids.
//
// Letters and numbers are those of the reference's regex 2026.11.19. Lower case and normal forms follow this Go version's
// Unicode, 15, where the reference's Python 3.11 has 14; no character of 14 differs.
package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Sizes of CLIP's vocabulary and text tower.
const (
	CLIPVocabSize     = 49408
	CLIPContextLength = 77

	byteSymbols    = 512 // 256 bytes, and 256 bytes that end a word
	specialSymbols = 2
	maxContext     = 1 << 20
)

// Tokenizer encodes texts. It is safe for concurrent use.
type Tokenizer struct {
	ranks    *merges
	nMerges  int
	context  int
	cache    wordCache
	sot, eot int32
}

// New returns a tokenizer of vocabSize ids, 514 to 49408: 512 byte symbols, the first vocabSize-514 merges of CLIP's list,
// start of text, end of text. contextLength is the number of ids of a text, at least 2. CLIP has 49408 and 77.
func New(vocabSize, contextLength int) (*Tokenizer, error) {
	if vocabSize < byteSymbols+specialSymbols || vocabSize > CLIPVocabSize {
		return nil, fmt.Errorf("making a tokenizer: vocabulary size %d, want %d to %d", vocabSize, byteSymbols+specialSymbols, CLIPVocabSize)
	}
	if contextLength < 2 || contextLength > maxContext {
		return nil, fmt.Errorf("making a tokenizer: context length %d, want 2 to %d", contextLength, maxContext)
	}
	m, err := loadMerges()
	if err != nil {
		return nil, fmt.Errorf("making a tokenizer: %w", err)
	}
	return &Tokenizer{
		ranks:   m,
		nMerges: vocabSize - byteSymbols - specialSymbols,
		context: contextLength,
		sot:     int32(vocabSize - 2),
		eot:     int32(vocabSize - 1),
	}, nil
}

// SOT is the id that starts every text.
func (t *Tokenizer) SOT() int32 { return t.sot }

// EOT is the id that ends every text; CLIP pools the text feature at its place.
func (t *Tokenizer) EOT() int32 { return t.eot }

// VocabSize is the number of ids.
func (t *Tokenizer) VocabSize() int { return int(t.eot) + 1 }

// ContextLength is the greatest number of ids of a text, and the row length of EncodeBatch.
func (t *Tokenizer) ContextLength() int { return t.context }

// Encode returns the ids of text from SOT to EOT, without padding. A text longer than the context is cut so that EOT is
// its last id.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.appendIDs(make([]int32, 0, 16), text)
}

// EncodeBatch returns the ids of texts as a matrix [len(texts), ContextLength], each row padded with 0 on the right.
func (t *Tokenizer) EncodeBatch(texts []string) []int32 {
	out := make([]int32, len(texts)*t.context)
	var row []int32
	for i, s := range texts {
		row = t.appendIDs(row[:0], s)
		copy(out[i*t.context:], row)
	}
	return out
}

func (t *Tokenizer) appendIDs(dst []int32, text string) []int32 {
	text = clean(text)
	start := len(dst)
	dst = append(dst, t.sot)
	for len(text) > 0 {
		word, kind, rest := next(text)
		text = rest
		switch {
		case word == "":
		case kind == kindSOT:
			dst = append(dst, t.sot)
		case kind == kindEOT:
			dst = append(dst, t.eot)
		default:
			dst = t.appendWord(dst, word)
		}
		if len(dst)-start >= t.context { // what follows is cut off
			dst = dst[:start+t.context]
			dst[len(dst)-1] = t.eot
			return dst
		}
	}
	return append(dst, t.eot)
}

// Decode returns the text of ids as OpenCLIP's decode does: a space after each piece that ends a word, the special ids as
// <start_of_text> and <end_of_text>, invalid UTF-8 as U+FFFD. Ids outside the vocabulary become U+FFFD. Padding is not
// told from the id 0, which is "!": cut it off first.
func (t *Tokenizer) Decode(ids []int32) string {
	var b []byte
	for _, id := range ids {
		switch {
		case id == t.sot:
			b = append(b, startOfText...)
		case id == t.eot:
			b = append(b, endOfText...)
		case id < 0 || id > t.eot:
			b = append(b, "\uFFFD"...)
		default:
			b = t.ranks.appendBytes(b, id)
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return replaceInvalid(b)
}

// replaceInvalid writes one U+FFFD for each longest run of bytes that begins a UTF-8 character and breaks off, as Python's
// decoder does.
func replaceInvalid(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			n = brokenPrefix(b)
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}

// brokenPrefix is the length of the longest prefix of b that some character's encoding starts with, at least 1.
func brokenPrefix(b []byte) int {
	lo, hi, more := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		more = 1
	case c >= 0xE0 && c <= 0xEF:
		more = 2
		if c == 0xE0 {
			lo = 0xA0
		} else if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		more = 3
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F
		}
	}
	n := 1
	for n <= more && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}
