package checkpoint

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// scanner reads JSON strictly and without recursion to more than maxDepth levels. encoding/json keeps the last of
// two equal keys and replaces broken text; a checkpoint's header must do neither.
type scanner struct {
	b []byte
	i int
}

const maxDepth = 16

// errorf reports a fault at the current offset.
func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("JSON at byte %d: %s", s.i, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c || s.i == len(s.b) {
		if s.i == len(s.b) {
			return s.errorf("ends where %q should be", c)
		}
		return s.errorf("%q where %q should be", got, c)
	}
	s.i++
	return nil
}

// end requires that only white space follows.
func (s *scanner) end() error {
	if s.peek(); s.i != len(s.b) {
		return s.errorf("text after the end")
	}
	return nil
}

// str reads a string. Broken UTF-8 and lone surrogates are errors: replaced text could make two names one.
func (s *scanner) str() (string, error) {
	if err := s.expect('"'); err != nil {
		return "", err
	}
	start, escaped := s.i, false
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			raw := s.b[start:s.i]
			s.i++
			if !utf8.Valid(raw) {
				return "", s.errorf("string is not UTF-8")
			}
			if !escaped {
				return string(raw), nil
			}
			return s.unescape(raw)
		case c == '\\':
			escaped = true
			s.i++ // whatever follows is not the end
		case c < 0x20:
			return "", s.errorf("control character %#02x in a string", c)
		}
	}
	s.i = len(s.b)
	return "", s.errorf("string does not end")
}

func (s *scanner) unescape(raw []byte) (string, error) {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; i < len(raw) && raw[i] == 'u' {
			switch r := hex4(raw[i+1:]); {
			case r >= 0xd800 && r < 0xdc00:
				if i+6 >= len(raw) || raw[i+5] != '\\' || raw[i+6] != 'u' {
					return "", s.errorf("lone surrogate in a string")
				}
				if lo := hex4(raw[i+7:]); lo < 0xdc00 || lo > 0xdfff {
					return "", s.errorf("lone surrogate in a string")
				}
				i += 10
			case r >= 0xdc00 && r <= 0xdfff:
				return "", s.errorf("lone surrogate in a string")
			}
		}
	}
	var v string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &v); err != nil {
		return "", s.errorf("bad escape in a string")
	}
	return v, nil
}

// hex4 reads four hexadecimal digits, -1 where there are none.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// uint reads a non-negative integer without fraction or exponent that fits 63 bits.
func (s *scanner) uint() (uint64, error) {
	c := s.peek()
	if c == '-' {
		return 0, s.errorf("negative number")
	}
	if c < '0' || c > '9' {
		return 0, s.errorf("%q where a number should be", c)
	}
	start := s.i
	var v uint64
	for ; s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9'; s.i++ {
		hi, lo := bits.Mul64(v, 10)
		lo, carry := bits.Add64(lo, uint64(s.b[s.i]-'0'), 0)
		if hi != 0 || carry != 0 || lo > 1<<63-1 {
			return 0, s.errorf("number does not fit 63 bits")
		}
		v = lo
	}
	if s.i-start > 1 && s.b[start] == '0' {
		return 0, s.errorf("number with leading zeros")
	}
	if s.i < len(s.b) && (s.b[s.i] == '.' || s.b[s.i]|0x20 == 'e') {
		return 0, s.errorf("number is not an integer")
	}
	return v, nil
}

// uints reads an array of at most limit integers.
func (s *scanner) uints(limit int) ([]uint64, error) {
	v := []uint64{}
	err := s.array(func() error {
		if len(v) == limit {
			return s.errorf("more than %d numbers in an array", limit)
		}
		n, err := s.uint()
		v = append(v, n)
		return err
	})
	return v, err
}

// array reads an array; item reads one element.
func (s *scanner) array(item func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect(']')
	}
}

// object reads an object; member reads the value of a key. Noticing equal keys is left to the caller.
func (s *scanner) object(member func(key string) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.i++
			continue
		}
		return s.expect('}')
	}
}

// strings reads an object of strings; label names it in messages.
func (s *scanner) strings(label string) (keys []string, m map[string]string, err error) {
	m = make(map[string]string)
	err = s.object(func(k string) error {
		if _, ok := m[k]; ok {
			return s.errorf("%s has key %q twice", label, k)
		}
		v, err := s.str()
		m[k] = v
		keys = append(keys, k)
		return err
	})
	return keys, m, err
}

// skip passes over any value and returns its text.
func (s *scanner) skip(depth int) (json.RawMessage, error) {
	if depth > maxDepth {
		return nil, s.errorf("nested more than %d deep", maxDepth)
	}
	c := s.peek()
	start := s.i
	var err error
	switch c {
	case '{':
		seen := make(map[string]bool)
		err = s.object(func(k string) error {
			if seen[k] {
				return s.errorf("key %q twice", k)
			}
			seen[k] = true
			_, err := s.skip(depth + 1)
			return err
		})
	case '[':
		err = s.array(func() error { _, err := s.skip(depth + 1); return err })
	case '"':
		_, err = s.str()
	default:
		for s.i < len(s.b) && (s.b[s.i]|0x20 >= 'a' && s.b[s.i]|0x20 <= 'z' || s.b[s.i] >= '0' && s.b[s.i] <= '9' ||
			s.b[s.i] == '.' || s.b[s.i] == '-' || s.b[s.i] == '+') {
			s.i++
		}
		if !json.Valid(s.b[start:s.i]) {
			err = s.errorf("not a value")
		}
	}
	return json.RawMessage(s.b[start:s.i]), err
}
