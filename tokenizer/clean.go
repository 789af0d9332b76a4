package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// clean prepares text as OpenCLIP does by default ("lower"): ftfy.fix_text, HTML entities twice, white space to single
// spaces, lower case.
func clean(text string) string {
	if !plain(text) {
		text = fixText(text)
		text = unescapeHTML(unescapeHTML(text))
	}
	return lower(collapse(text))
}

// plain reports whether text is ASCII that no fix changes.
func plain(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c >= 0x7F || c == '&' || c < 0x20 && c != '\t' && c != '\n' && c != '\f' {
			return false
		}
	}
	return true
}

// pySpace reports what Python's str.isspace does: Unicode's white space and the four ASCII separators.
func pySpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || r >= '\t' && r <= '\r' || r >= 0x1C && r <= 0x1F
	}
	return unicode.Is(unicode.White_Space, r)
}

// collapse trims text and makes each run of white space one space.
func collapse(text string) string {
	tidy, was := true, true // was: the last character was a space, or there was none
	for i := range len(text) {
		c := text[i]
		if c >= utf8.RuneSelf || c < ' ' || c == ' ' && was {
			tidy = false
			break
		}
		was = c == ' '
	}
	if tidy && !was || text == "" {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, pySpace), " ")
}

// lower is Python's str.lower: simple lower case, but for capital I with a dot, which keeps its dot as a mark, and capital
// sigma, which becomes the final form at the end of a word.
func lower(text string) string {
	asciiOnly, change := true, false
	for i := range len(text) {
		c := text[i]
		asciiOnly = asciiOnly && c < utf8.RuneSelf
		change = change || c >= 'A' && c <= 'Z'
	}
	if asciiOnly {
		if !change {
			return text
		}
		return strings.ToLower(text)
	}
	var b strings.Builder
	b.Grow(len(text))
	for i, r := range text {
		switch r {
		case 'İ':
			b.WriteString("i\u0307")
		case 'Σ':
			if finalSigma(text, i) {
				b.WriteRune('ς')
			} else {
				b.WriteRune('σ')
			}
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// finalSigma reports whether the sigma at text[i] ends a word: a cased letter before it and none after it, not counting
// characters that case ignores (Unicode, Final_Sigma).
func finalSigma(text string, i int) bool {
	before := false
	for s := text[:i]; len(s) > 0; {
		r, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
		if !caseIgnorable(r) {
			before = cased(r)
			break
		}
	}
	if !before {
		return false
	}
	for _, r := range text[i+len("Σ"):] {
		if !caseIgnorable(r) {
			return !cased(r)
		}
	}
	return true
}

func cased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) ||
		unicode.Is(unicode.Other_Lowercase, r) || unicode.Is(unicode.Other_Uppercase, r)
}

func caseIgnorable(r rune) bool {
	switch r {
	case '\'', '.', ':', '·', '\u0387', '\u055F', '\u05F4', '\u2018', '\u2019', '\u2024', '\u2027', '\uFE13', '\uFE52',
		'\uFE55', '\uFF07', '\uFF0E', '\uFF1A':
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// maxSegment is the number of characters that ftfy fixes at once.
const maxSegment = 1_000_000

// fixText is ftfy.fix_text with its default settings: line by line, HTML entities only up to the first line with "<".
func fixText(text string) string {
	text = decodeSurrogates(text)
	var b strings.Builder
	entities := true
	for len(text) > 0 {
		line := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line = text[:i+1]
		}
		if len(line) > maxSegment {
			n := 0
			for i := range line {
				if n == maxSegment {
					line = line[:i]
					break
				}
				n++
			}
		}
		text = text[len(line):]
		entities = entities && !strings.Contains(line, "<")
		b.WriteString(fixSegment(line, entities))
	}
	return b.String()
}

// maxPasses bounds the passes over one line. Each pass undoes one layer of damage, so honest text needs two or three.
const maxPasses = 100

func fixSegment(s string, entities bool) string {
	for range maxPasses {
		before := s
		if entities {
			s = unescapeStrict(s)
		}
		s = fixEncoding(s)
		s = mapCharacters(s)
		s = decodeSurrogates(s)
		s = removeEscapes(s)
		s = strings.Map(func(r rune) rune {
			if controlChar(r) {
				return -1
			}
			return r
		}, s)
		s = norm.NFC.String(s)
		if s == before {
			break
		}
	}
	return s
}

// mapCharacters does ftfy's replacements of single characters in its order: C1 controls to Windows-1252, Latin ligatures
// to letters, full and half width to normal width, curly quotes to straight, line breaks to \n.
func mapCharacters(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 || r == '\r' }) < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		if r < 0x80 {
			if r == '\r' {
				if i+1 < len(s) && s[i+1] == '\n' {
					continue
				}
				r = '\n'
			}
			b.WriteByte(byte(r))
			continue
		}
		if r <= 0x9F {
			r = windows1252[r-0x80]
		}
		if l, ok := ligatures[r]; ok {
			for _, c := range l {
				b.WriteRune(straight(c))
			}
			continue
		}
		if w := width(r); w != "" {
			for _, c := range w {
				b.WriteRune(straight(c))
			}
			continue
		}
		b.WriteRune(straight(r))
	}
	return b.String()
}

var ligatures = map[rune]string{
	'Ĳ': "IJ", 'ĳ': "ij", 'ŉ': "ʼn", 'Ǳ': "DZ", 'ǲ': "Dz", 'ǳ': "dz", 'Ǆ': "DŽ", 'ǅ': "Dž", 'ǆ': "dž", 'Ǉ': "LJ", 'ǈ': "Lj",
	'ǉ': "lj", 'Ǌ': "NJ", 'ǋ': "Nj", 'ǌ': "nj", 'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "ſt", 'ﬆ': "st",
}

// width is the normal form of a full-width or half-width character, or "".
func width(r rune) string {
	if r == 0x3000 {
		return " "
	}
	if r < 0xFF01 || r >= 0xFFF0 {
		return ""
	}
	return norm.NFKC.String(string(r))
}

func straight(r rune) rune {
	switch r {
	case '\u02BC', '\u2018', '\u2019', '\u201A', '\u201B':
		return '\''
	case '\u201C', '\u201D', '\u201E', '\u201F':
		return '"'
	case '\u2028', '\u2029', '\u0085':
		return '\n'
	}
	return r
}

// windows1252 is what the bytes 0x80 to 0x9F stand for there; bytes without a meaning stay C1 controls.
var windows1252 = [32]rune{
	0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0x8D, 0x17D, 0x8F,
	0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178,
}

func controlChar(r rune) bool {
	return r < 9 || r == 0xB || r >= 0xE && r < 0x20 || r == 0x7F || r >= 0x206A && r < 0x2070 || r == 0xFEFF ||
		r >= 0xFFF9 && r < 0xFFFD
}

// removeEscapes drops terminal escape sequences: ESC [, digits and semicolons, a letter.
func removeEscapes(s string) string {
	i := strings.Index(s, "\x1b[")
	if i < 0 {
		return s
	}
	var b strings.Builder
	for ; i >= 0; i = strings.Index(s, "\x1b[") {
		b.WriteString(s[:i])
		s = s[i:]
		j := 2
		for j < len(s) {
			r, n := utf8.DecodeRuneInString(s[j:])
			if r != ';' && !unicode.Is(unicode.Nd, r) {
				break
			}
			j += n
		}
		if c := at(s, j) | 0x20; c >= 'a' && c <= 'z' {
			s = s[j+1:]
		} else {
			b.WriteString(s[:2])
			s = s[2:]
		}
	}
	b.WriteString(s)
	return b.String()
}

func at(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// decodeSurrogates makes text valid UTF-8: a pair of UTF-16 surrogates, each encoded in three bytes, becomes its character,
// a lone one and any other invalid byte U+FFFD.
func decodeSurrogates(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			if u, ok := surrogate(s); ok {
				n = 3
				if l, ok := surrogate(s[3:]); ok && u < 0xDC00 && l >= 0xDC00 {
					r = 0x10000 + (u-0xD800)<<10 + l - 0xDC00
					n = 6
				}
			}
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

func surrogate(s string) (rune, bool) {
	if len(s) < 3 || s[0] != 0xED || s[1] < 0xA0 || s[1] > 0xBF || s[2] < 0x80 || s[2] > 0xBF {
		return 0, false
	}
	return 0xD000 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), true
}
