package tokenizer

import "sync"

// This file tells text that looks like mojibake: it holds a sequence of characters that hardly occurs otherwise. Classes and
// rules are those of ftfy 6.3.1 (Apache License 2.0, Robyn Speer).

// charClass is a set of classes of characters that matter in mojibake.
type charClass uint32

const (
	common charClass = 1 << iota // seen in many contexts
	c1                           // C1 controls
	bad                          // hardly seen but in mojibake
	law
	currency
	opening // punctuation that starts something
	closing // punctuation that ends something
	numeric
	kaomoji // letters that may be parts of faces
	upperAccented
	lowerAccented
	upperCommon // capitals of other alphabets
	lowerCommon
	box
	latinUpper
	latinLower
	blank    // the space character
	gap      // white space
	wordy    // letters, digits, underscore
	notLatin // not a letter of ASCII
	inLine   // not a line feed

	accented = upperAccented | lowerAccented
)

var classRunes = map[charClass]string{
	common:        "\u00A0\u00AD´·–—―’…",
	c1:            "\u0080-\u009F",
	bad:           "¤¦¨ª¬¯¸ºƒ\u02C6\u02C7\u02D8\u02DB\u02DC†‡‰⌐◊\uFFFD",
	law:           "§¶",
	currency:      "¢£¥₧€",
	opening:       "¡©«¿΄΅‘‚“„•‹\uF8FF",
	closing:       "®»\u02DD”›™",
	numeric:       "±²³µ¹¼½¾×÷⁄№∂∆∏∑√∞∩∫≈≠≡≤≥",
	kaomoji:       "°Ò-ÖÙ-Üò-öø-üŌŐŪŲ",
	upperAccented: "À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ",
	lowerAccented: "ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґ\uFB01\uFB02",
	upperCommon:   "ÞΆΈΉΊΌΎΏΑ-ΫЁ-Я",
	lowerCommon:   "ά-ωа-џ",
	box:           "│┌┐┘├┤┬┼═-╬▀▄█▌▐-▓",
}

var classes = sync.OnceValue(func() map[rune]charClass {
	m := map[rune]charClass{}
	for c, spec := range classRunes {
		for r := range runes(spec) {
			m[r] |= c
		}
	}
	return m
})

func classesOf(table map[rune]charClass, r rune) charClass {
	if r >= 0x80 {
		c := table[r] | notLatin | inLine
		if wordChar(r) {
			c |= wordy
		}
		if pySpace(r) {
			c |= gap
		}
		return c
	}
	switch {
	case r >= 'a' && r <= 'z':
		return latinLower | wordy | inLine
	case r >= 'A' && r <= 'Z':
		return latinUpper | wordy | inLine
	case r >= '0' && r <= '9' || r == '_':
		return wordy | notLatin | inLine
	case r == ' ':
		return blank | gap | notLatin | inLine
	case r == '\n':
		return gap | notLatin
	case pySpace(r):
		return gap | notLatin | inLine
	}
	return notLatin | inLine
}

// anyOf is one place of a rule: a character of one of the classes, or of or.
type anyOf struct {
	in charClass
	or string
}

func (a anyOf) has(r rune, c charClass) bool {
	if c&a.in != 0 {
		return true
	}
	for _, o := range a.or {
		if o == r {
			return true
		}
	}
	return false
}

// badRules are the sequences.
var badRules = [][]anyOf{
	{{in: c1}},

	// Pairs of classes that do not go together.
	{{in: bad | accented | box | opening | closing | currency | numeric | law}, {in: bad}},
	{{in: latinUpper | latinLower}, {in: lowerCommon | upperCommon}, {in: bad}},
	{{in: bad}, {in: accented | box | opening | closing | currency | numeric | law}},
	{{in: lowerAccented | lowerCommon | box | closing | currency | numeric}, {in: upperAccented}},
	{{in: box | closing | currency | numeric}, {in: lowerAccented}},
	{{in: lowerAccented | box | closing}, {in: currency}},
	{{in: gap}, {in: upperAccented}, {in: currency}},
	{{in: upperAccented | box}, {in: numeric | law}},
	{{in: accented | box | currency | closing}, {in: opening}, {in: numeric}},
	{{in: accented | currency | numeric | box | law}, {in: closing}, {in: opening}},
	{{in: currency | numeric | box}, {in: opening}},
	{{in: latinLower}, {in: upperAccented}, {in: opening | currency}},
	{{in: box}, {in: kaomoji}},
	{{in: accented | currency | numeric | opening | closing | law}, {in: box}},
	{{in: box}, {in: closing}},
	{{in: accented}, {in: opening | closing}, {in: wordy}},
	{{or: "Œœ"}, {in: notLatin}},
	{{in: upperAccented}, {or: "°"}},

	// Windows-1252: the first bytes of two, which are letters, before what later bytes are.
	{{or: "ÂÃÎÐ"}, {in: opening | closing, or: "€œŠš¢£Ÿž\u00A0\u00AD®©°·»–—´"}},
	{{or: "×"}, {or: "²³"}},
	{{or: "ØÙ"}, {in: common | currency | bad | numeric | opening, or: "ŸŠ®°µ»"},
		{or: "ØÙ"}, {in: common | currency | bad | numeric | opening, or: "ŸŠ®°µ»"}}, // Arabic
	{{or: "à"}, {or: "²µ¹¼½¾"}}, // South Asian alphabets
	{{or: "Ã"}, {or: "\u00A0¡"}},
	{{in: latinLower}, {or: "ÃÂ"}, {in: blank}},
	{{in: latinLower}, {in: gap}, {or: "ÃÂ"}, {in: blank}},
	{{in: latinLower | closing, or: ".,?!"}, {or: "Â"}, {in: blank | opening | closing}},

	// MacRoman.
	{{or: "√"}, {or: "±∂†≠®™´≤≥¥µø"}},
	{{or: "≈"}, {or: "°¢"}},
	{{or: "‚"}, {or: "Ä"}, {or: "ìîïòôúùû†°¢π"}},
	{{or: "‚"}, {or: "âó"}, {or: "àä°ê"}},

	// Windows-1251: punctuation, and Latin-1 or Cyrillic letters.
	{{or: "в"}, {or: "Ђ"}},
	{{or: "ВГРС"}, {in: c1 | bad | opening | closing | currency, or: "°µ"}, {or: "ВГРС"}},
	{{or: "Г"}, {or: "ў"}, {or: "В"}, {or: "Ђ"}, {or: "В"}, {in: inLine}, {in: latinUpper | latinLower | blank}},

	// Windows-1253 and Windows-1257: punctuation, and Latin-1 or Greek letters.
	{{or: "β"}, {or: "€"}, {or: "™\u00A0Ά\u00AD®°"}},
	{{or: "ΒΓΞΟ"}, {in: c1 | bad | opening | closing | currency, or: "°"}, {or: "ΒΓΞΟ"}},
	{{or: "ā"}, {or: "€"}},
}

// badStart is a sequence that looks wrong only at the start of a text.
var badStart = []anyOf{{or: "ÃÂ"}, {in: blank}}

// isBad reports whether s looks like mojibake.
func isBad(s string) bool {
	table := classes()
	rs := []rune(s)
	cs := make([]charClass, len(rs))
	for i, r := range rs {
		cs[i] = classesOf(table, r)
	}
	if follows(badStart, rs, cs) {
		return true
	}
	for i := range rs {
		for _, rule := range badRules {
			if follows(rule, rs[i:], cs[i:]) {
				return true
			}
		}
	}
	return false
}

func follows(rule []anyOf, rs []rune, cs []charClass) bool {
	if len(rs) < len(rule) {
		return false
	}
	for j, a := range rule {
		if !a.has(rs[j], cs[j]) {
			return false
		}
	}
	return true
}
