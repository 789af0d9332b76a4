package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

const (
	startOfText = "<start_of_text>"
	endOfText   = "<end_of_text>"
)

// kind tells the two special tokens from words.
type kind int

const (
	kindWord kind = iota
	kindSOT
	kindEOT
)

// class sorts characters as CLIP's pattern does.
type class uint8

const (
	other class = iota
	letter
	number
	space
	nothing // matches no part of the pattern, and is dropped
)

// ascii holds the classes of U+0000 to U+007F.
var ascii = func() (t [utf8.RuneSelf]class) {
	for i := range t {
		switch c := byte(i); {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			t[i] = letter
		case c >= '0' && c <= '9':
			t[i] = number
		case c == ' ' || c >= '\t' && c <= '\r':
			t[i] = space
		}
	}
	return t
}()

func classOf(s string) (class, int) {
	if c := s[0]; c < utf8.RuneSelf {
		return ascii[c], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsLetter(r) || unicode.Is(newLetters, r):
		return letter, n
	case unicode.Is(unicode.N, r) || unicode.Is(newNumbers, r):
		return number, n
	case unicode.Is(unicode.White_Space, r):
		return space, n
	case r == 0x345:
		// The pattern ignores case, and this mark's other case is a letter: the reference's engine takes it neither for
		// a letter nor for anything else.
		return nothing, n
	}
	return other, n
}

// next cuts the first token from s, which is not empty: a special token, an English contraction, a run of letters, one
// digit, or a run of anything else that is not white space. What matches nothing is skipped, with word "".
func next(s string) (word string, k kind, rest string) {
	if s[0] == '<' {
		if n := foldPrefix(s, startOfText); n > 0 {
			return special(s, n, startOfText, kindSOT)
		}
		if n := foldPrefix(s, endOfText); n > 0 {
			return special(s, n, endOfText, kindEOT)
		}
	}
	if s[0] == '\'' {
		for _, c := range contractions {
			if n := foldPrefix(s, c); n > 0 {
				return s[:n], kindWord, s[n:]
			}
		}
	}
	cl, n := classOf(s)
	switch cl {
	case number:
		return s[:n], kindWord, s[n:]
	case space, nothing:
		return "", kindWord, s[n:]
	}
	for n < len(s) {
		c, w := classOf(s[n:])
		if c != cl {
			break
		}
		n += w
	}
	return s[:n], kindWord, s[n:]
}

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// special returns the token of n bytes. A spelling with a long s matches the pattern but is no known token, so it is cut
// into bytes like a word.
func special(s string, n int, want string, k kind) (string, kind, string) {
	if s[:n] != want {
		k = kindWord
	}
	return s[:n], k, s[n:]
}

// foldPrefix is the length of the prefix of s that equals p, lower-case ASCII, when case is ignored, or 0. Of the
// characters that lower-casing leaves, only the long s is another case of a letter in the pattern.
func foldPrefix(s, p string) int {
	n := 0
	for i := range len(p) {
		switch {
		case n < len(s) && s[n] == p[i]:
			n++
		case p[i] == 's' && n+2 <= len(s) && s[n:n+2] == "ſ":
			n += 2
		default:
			return 0
		}
	}
	return n
}
