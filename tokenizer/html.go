package tokenizer

import (
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unescapeHTML replaces character references as HTML 5 says, with or without a semicolon, where their names or numbers are
// known (Python's html.unescape).
func unescapeHTML(s string) string {
	i := strings.IndexByte(s, '&')
	if i < 0 {
		return s
	}
	var b strings.Builder
	for {
		b.WriteString(s[:i])
		s = s[i:]
		text, n := charRef(s)
		b.WriteString(text)
		s = s[n:]
		if i = strings.IndexByte(s, '&'); i < 0 {
			b.WriteString(s)
			return b.String()
		}
	}
}

// charRef decodes the reference at the start of s, which is "&", and returns its text and length. Where there is none it
// returns the characters unchanged.
func charRef(s string) (string, int) {
	if len(s) > 1 && s[1] == '#' {
		return numericRef(s)
	}
	// A name is up to 32 characters.
	end := 1
	for n := 0; n < 32 && end < len(s); n++ {
		r, w := utf8.DecodeRuneInString(s[end:])
		if strings.ContainsRune("\t\n\f <&#;", r) {
			break
		}
		end += w
	}
	if end == 1 {
		return "&", 1
	}
	name := s[1:end]
	if end < len(s) && s[end] == ';' {
		if t, ok := namedRef(name); ok {
			return t, end + 1
		}
	}
	// The longest name that HTML knows without its semicolon.
	for n := min(len(name), longestLegacy); n > 1; n-- {
		if legacyRefs[name[:n]] {
			t, _ := namedRef(name[:n])
			return t, 1 + n
		}
	}
	return s[:end], end
}

// numericRef is charRef for &#...
func numericRef(s string) (string, int) {
	base, i := rune(10), 2
	if i < len(s) && (s[i] == 'x' || s[i] == 'X') {
		base, i = 16, 3
	}
	start, num := i, rune(0)
	for ; i < len(s); i++ {
		d := digit(s[i])
		if d >= base {
			break
		}
		if num <= unicode.MaxRune {
			num = num*base + d
		}
	}
	if i == start {
		return "&", 1
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	switch {
	case num == 0 || num > unicode.MaxRune || num >= 0xD800 && num <= 0xDFFF:
		return "\uFFFD", i
	case num == '\r':
		return "\r", i
	case num >= 0x80 && num <= 0x9F:
		return string(windows1252[num-0x80]), i
	case num < 0x20 && num != '\t' && num != '\n' && num != '\f', num == 0x7F,
		num >= 0xFDD0 && num <= 0xFDEF, num&0xFFFE == 0xFFFE: // no characters
		return "", i
	}
	return string(num), i
}

// digit is the value of a hexadecimal digit, or a number above all bases.
func digit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return 99
}

// namedRef looks up a name without its semicolon, in the standard library's table of HTML 5.
func namedRef(name string) (string, bool) {
	switch name {
	case "semi":
		return ";", true
	case "nGt": // the table lacks these two
		return "\u226B\u20D2", true
	case "nLt":
		return "\u226A\u20D2", true
	}
	for i := range len(name) {
		if c := name[i] | 0x20; (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') {
			return "", false
		}
	}
	t := html.UnescapeString("&" + name + ";")
	if strings.HasSuffix(t, ";") { // nothing, or only the start of the name, is known
		return "", false
	}
	return t, true
}

// legacyRefs are the names that HTML 5 knows without a semicolon.
var legacyRefs = func() map[string]bool {
	m := map[string]bool{}
	for n := range strings.FieldsSeq(`AElig AMP Aacute Acirc Agrave Aring Atilde Auml COPY Ccedil ETH Eacute Ecirc Egrave Euml
		GT Iacute Icirc Igrave Iuml LT Ntilde Oacute Ocirc Ograve Oslash Otilde Ouml QUOT REG THORN Uacute Ucirc Ugrave Uuml
		Yacute aacute acirc acute aelig agrave amp aring atilde auml brvbar ccedil cedil cent copy curren deg divide eacute
		ecirc egrave eth euml frac12 frac14 frac34 gt iacute icirc iexcl igrave iquest iuml laquo lt macr micro middot nbsp
		not ntilde oacute ocirc ograve ordf ordm oslash otilde ouml para plusmn pound quot raquo reg sect shy sup1 sup2 sup3
		szlig thorn times uacute ucirc ugrave uml uuml yacute yen yuml`) {
		m[n] = true
	}
	return m
}()

const longestLegacy = 6

// unescapeStrict is ftfy's unescape_html: only references that end in a semicolon, and names in capitals too where the name
// is known in lower case and means nothing else in capitals.
func unescapeStrict(s string) string {
	i := strings.IndexByte(s, '&')
	if i < 0 {
		return s
	}
	var b strings.Builder
	for ; i >= 0; i = strings.IndexByte(s, '&') {
		b.WriteString(s[:i])
		s = s[i:]
		n := 1
		if len(s) > 1 && s[1] == '#' {
			n = 2
		}
		start := n
		for n < len(s) && n-start < 24 && asciiAlnum(s[n]) {
			n++
		}
		if n == start || n >= len(s) || s[n] != ';' {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		n++
		b.WriteString(strictRef(s[:n]))
		s = s[n:]
	}
	b.WriteString(s)
	return b.String()
}

func strictRef(ref string) string {
	if ref[1] == '#' {
		if t := unescapeHTML(ref); !strings.Contains(t, ";") {
			return t
		}
		return ref
	}
	name := ref[1 : len(ref)-1]
	if t, ok := namedRef(name); ok {
		return t
	}
	if name != strings.ToUpper(name) || unescapeHTML(ref) != ref {
		return ref
	}
	if t, ok := namedRef(strings.ToLower(name)); ok {
		return upper(t)
	}
	return ref
}

// upper is the upper case of t, with the characters that become several.
func upper(t string) string {
	if u, ok := longUpper[t]; ok {
		return u
	}
	return strings.ToUpper(t)
}

// longUpper holds the entities whose upper case is longer than one character.
var longUpper = map[string]string{"ß": "SS", "ŉ": "ʼN", "ﬀ": "FF", "ﬁ": "FI", "ﬂ": "FL", "ﬃ": "FFI", "ﬄ": "FFL"}

func asciiAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
