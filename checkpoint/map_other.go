//go:build !unix

package checkpoint

import (
	"fmt"
	"io"

	"paint/weights"
)

// mapFile reads a file into memory. A mapped file could be neither replaced nor deleted on Windows, and both happen to
// checkpoints.
func mapFile(path string) (data []byte, release func(), err error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data = weights.New("", weights.U8, int(size)).Data
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, fmt.Errorf("reading %d bytes: %w", size, err)
	}
	return data, func() {}, nil
}
