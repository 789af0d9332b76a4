package tokenizer

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// This file repairs mojibake, UTF-8 that was read in a one-byte encoding ("cafÃ©"), as ftfy 6.3.1 does: text that looks bad
// (badness.go) is written in each encoding it may have been read in, and the bytes are taken for UTF-8 where they are.

// codec is a one-byte encoding in which text may have been read.
type codec struct {
	name   string
	encode map[rune]byte // of U+0080 and above
	// sloppy encodings also write U+FFFD, as the byte 1A.
	sloppy bool
}

const substitute = 0x1A

// codecs are in the order in which they are tried.
var codecs = sync.OnceValue(func() []codec {
	cs := []codec{{name: "latin-1", encode: map[rune]byte{}}}
	for b := rune(0x80); b <= 0xFF; b++ {
		cs[0].encode[b] = byte(b)
	}
	for _, c := range []struct {
		name   string
		m      *charmap.Charmap
		sloppy bool
	}{
		{"windows-1252", charmap.Windows1252, true},
		{"windows-1251", charmap.Windows1251, true},
		{"windows-1250", charmap.Windows1250, true},
		{"windows-1253", charmap.Windows1253, true},
		{"windows-1254", charmap.Windows1254, true},
		{"windows-1257", charmap.Windows1257, true},
		{"iso-8859-2", charmap.ISO8859_2, false},
		{"macroman", charmap.Macintosh, false},
		{"cp437", charmap.CodePage437, false},
	} {
		k := codec{name: c.name, encode: map[rune]byte{}, sloppy: c.sloppy}
		for b := 0x80; b <= 0xFF; b++ {
			r := c.m.DecodeByte(byte(b))
			if r == utf8.RuneError { // no character: the byte stands for itself, as on the web
				r = rune(b)
			}
			k.encode[r] = byte(b)
		}
		if c.sloppy {
			k.encode[utf8.RuneError] = substitute
		}
		cs = append(cs, k)
	}
	return cs
})

// bytes writes s in the encoding, if that is possible.
func (c codec) bytes(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r < 0x80 {
			if r == substitute && c.sloppy {
				return nil, false
			}
			out = append(out, byte(r))
			continue
		}
		b, ok := c.encode[r]
		if !ok {
			return nil, false
		}
		out = append(out, b)
	}
	return out, true
}

// fixEncoding undoes layers of mojibake until nothing more looks wrong or can be undone.
func fixEncoding(s string) string {
	for range maxPasses {
		before := s
		if s = fixEncodingOnce(s); s == before {
			break
		}
	}
	return s
}

func fixEncodingOnce(s string) string {
	if isASCII(s) || !isBad(s) {
		return s
	}
	latin1 := false
	for i, c := range codecs() {
		b, ok := c.bytes(s)
		if !ok {
			continue
		}
		latin1 = latin1 || i == 0
		if c.name != "macroman" && find(alteredUTF8, b) {
			b = restoreA0(b)
		}
		if c.sloppy {
			b = replaceAll(lossyUTF8, b, func([]byte) []byte { return []byte("\uFFFD") })
		}
		if t, ok := decodeUTF8(b); ok {
			return t
		}
	}
	if t := fixEmbedded(s); t != s {
		return t
	}
	if latin1 {
		if t, ok := latin1As1252(s); ok {
			return t
		}
	}
	return fixC1(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// latin1As1252 reads Latin-1 text as Windows-1252 where each of its characters has a meaning there and some other one.
func latin1As1252(s string) (string, bool) {
	for _, r := range s {
		if r >= 0x80 && r <= 0x9F && windows1252[r-0x80] == r {
			return "", false
		}
	}
	t := fixC1(s)
	return t, t != s
}

// fixC1 replaces C1 controls by what Windows-1252 has in their places.
func fixC1(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 && r <= 0x9F {
			return windows1252[r-0x80]
		}
		return r
	}, s)
}

// decodeUTF8 decodes b if it is UTF-8, surrogate pairs of three bytes each (CESU-8) and a zero of two bytes (Java's) included.
func decodeUTF8(b []byte) (string, bool) {
	s := string(b)
	if utf8.ValidString(s) {
		return s, true
	}
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			if strings.HasPrefix(s, "\xC0\x80") {
				r, n = 0, 2
			} else if u, ok := surrogate(s); ok && u < 0xDC00 {
				l, ok := surrogate(s[3:])
				if !ok || l < 0xDC00 {
					return "", false
				}
				r, n = 0x10000+(u-0xD800)<<10+l-0xDC00, 6
			} else {
				return "", false
			}
		}
		out.WriteRune(r)
		s = s[n:]
	}
	return out.String(), true
}

// byteRule is a sequence of sets of bytes.
type byteRule [][256]bool

// byteRules reads rules, one a string: sets apart by "|", each of bytes and ranges of bytes with "-".
func byteRules(specs ...string) []byteRule {
	rules := make([]byteRule, len(specs))
	for i, spec := range specs {
		for part := range strings.SplitSeq(spec, "|") {
			var set [256]bool
			for j := 0; j < len(part); j++ {
				set[part[j]] = true
				if j+2 < len(part) && part[j+1] == '-' {
					for c := int(part[j]); c <= int(part[j+2]); c++ {
						set[c] = true
					}
					j += 2
				}
			}
			rules[i] = append(rules[i], set)
		}
	}
	return rules
}

// alteredUTF8 are characters in UTF-8 of which a byte A0, a no-break space, has become a plain space. Leading bytes are
// limited to those of likely characters.
var alteredUTF8 = byteRules(
	"\xC2\xC3\xC5\xCE\xD0\xD9| ",
	"\xE2\xE3| |\x80-\x84\x86-\x9F\xA1-\xBF",
	"\xE0-\xE3|\x80-\x84\x86-\x9F\xA1-\xBF| ",
	"\xF0| |\x80-\xBF|\x80-\xBF",
	"\xF0|\x80-\xBF| |\x80-\xBF",
	"\xF0|\x80-\xBF|\x80-\xBF| ",
)

// lossyUTF8 are characters in UTF-8 and CESU-8 of which a byte has become U+FFFD (here 1A) or a question mark.
var lossyUTF8 = byteRules(
	"\xC2-\xDF|\x1A",
	"\xC2\xC3|?",
	"\xED|\xA0-\xAF|\x1A?|\xED|\xB0-\xBF|\x1A?\x80-\xBF",
	"\xED|\xA0-\xAF|\x1A?\x80-\xBF|\xED|\xB0-\xBF|\x1A?",
	"\xE0-\xEF|\x1A?|\x1A\x80-\xBF",
	"\xE0-\xEF|\x1A\x80-\xBF|\x1A?",
	"\xF0-\xF4|\x1A?|\x1A\x80-\xBF|\x1A\x80-\xBF",
	"\xF0-\xF4|\x1A\x80-\xBF|\x1A?|\x1A\x80-\xBF",
	"\xF0-\xF4|\x1A\x80-\xBF|\x1A\x80-\xBF|\x1A?",
	"\x1A",
)

// match is the length of the first rule that b starts with, or 0.
func match(rules []byteRule, b []byte) int {
next:
	for _, r := range rules {
		if len(b) < len(r) {
			continue
		}
		for i := range r {
			if !r[i][b[i]] {
				continue next
			}
		}
		return len(r)
	}
	return 0
}

func find(rules []byteRule, b []byte) bool {
	for i := range b {
		if match(rules, b[i:]) > 0 {
			return true
		}
	}
	return false
}

func replaceAll(rules []byteRule, b []byte, by func([]byte) []byte) []byte {
	var out []byte
	for len(b) > 0 {
		if n := match(rules, b); n > 0 {
			out = append(out, by(b[:n])...)
			b = b[n:]
			continue
		}
		out = append(out, b[0])
		b = b[1:]
	}
	return out
}

// restoreA0 puts back the bytes A0 that had become spaces. "à" before a space is most often a word of its own, in which case
// the space stays; not so in a few Portuguese words.
func restoreA0(b []byte) []byte {
	s := string(b)
	var out strings.Builder
	for {
		i := strings.Index(s, "\xC3 ")
		if i < 0 {
			break
		}
		rest := s[i+2:]
		out.WriteString(s[:i])
		if startsAny(rest, " ", "quele", "quela", "quilo", "s ") {
			out.WriteString("\xC3 ")
		} else {
			out.WriteString("\xC3\xA0 ")
		}
		s = rest
	}
	out.WriteString(s)
	return replaceAll(alteredUTF8, []byte(out.String()), func(m []byte) []byte {
		r := append([]byte(nil), m...)
		for i, c := range r {
			if c == ' ' {
				r[i] = 0xA0
			}
		}
		return r
	})
}

func startsAny(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// fixEmbedded repairs runs that look like UTF-8 characters read in a one-byte encoding, each on its own, where the whole text
// has no one encoding.
func fixEmbedded(s string) string {
	rs := []rune(s)
	var out strings.Builder
	for i := 0; i < len(rs); {
		n := 0
		if i == 0 || !contStrict.has(rs[i-1]) {
			n = utf8Run(rs[i:])
		}
		if n == 0 {
			out.WriteRune(rs[i])
			i++
			continue
		}
		part := string(rs[i : i+n])
		if n < len(rs) && isBad(part) { // shorter than the text, so that this ends
			part = fixEncoding(part)
		}
		out.WriteString(part)
		i += n
	}
	return out.String()
}

// utf8Run is the number of characters at the start of rs that look like whole UTF-8 sequences.
func utf8Run(rs []rune) int {
	n := 0
next:
	for {
		for more, lead := range []runeSet{1: lead2, 2: lead3, 3: lead4} {
			if more == 0 || len(rs)-n <= more || !lead.has(rs[n]) {
				continue
			}
			ok := true
			for _, r := range rs[n+1 : n+1+more] {
				ok = ok && (contStrict.has(r) || contOther.has(r))
			}
			if ok {
				n += more + 1
				continue next
			}
		}
		return n
	}
}

// runeSet is a set of characters.
type runeSet map[rune]bool

func (s runeSet) has(r rune) bool { return s[r] }

// runes reads a set: characters and ranges of characters with "-".
func runes(spec string) runeSet {
	s, rs := runeSet{}, []rune(spec)
	for i := 0; i < len(rs); i++ {
		s[rs[i]] = true
		if i+2 < len(rs) && rs[i+1] == '-' {
			for r := rs[i]; r <= rs[i+2]; r++ {
				s[r] = true
			}
			i += 2
		}
	}
	return s
}

// What the leading and continuation bytes of UTF-8 look like in Latin-1, Windows-1250 to 1254 and 1257.
var (
	lead2 = runes("Â-ßĀĂĆČĎĐĒĖĘĚĞĢĪİĶĹĻŁŃŅŇŌŐŘŚŞŠŢŪŮŰŲŹŻŽΒ-ΡΣ-ίВ-Я")
	lead3 = runes("à-ïāăąćčďēėęěģīįķĺļŕźΰ-οа-п")
	lead4 = runes("ðóđğšπσру")
	// contStrict are continuation bytes that are seldom characters in their own right beside mojibake.
	contStrict = runes("\u0080-¿ÆØæøĄąĽľŁłŒœŖŗŚśŞ-šŤťŸ-žƒ\u02C6\u02C7\u02D8\u02DB\u02DC\u02DD΄΅ΆΈΉΊΌΎΏЁ-ЌЎЏё-ќўџҐґ†‡‰‹›€№™")
	contOther  = runes(" –—―‘’‚“”„•…")
)

// wordChar is what \w matches.
func wordChar(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.N, r) }
