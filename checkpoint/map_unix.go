//go:build unix

package checkpoint

import (
	"golang.org/x/sys/unix"
)

// mapFile maps a file read-only. release gives its resident pages back; the mapping itself stays, and a page that is
// touched again comes from the file again.
func mapFile(path string) (data []byte, release func(), err error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if size == 0 {
		return nil, func() {}, nil
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return data, func() { unix.Madvise(data, unix.MADV_DONTNEED) }, nil //nolint:errcheck // only advice
}
