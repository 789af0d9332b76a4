package checkpoint

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// partSuffix ends the names of files and directories that are not complete.
const partSuffix = ".part"

// partRandom is the number of random characters, of base 32, in partName's names.
const partRandom = 10

// partName returns a name beside path that nothing has.
func partName(path string) string { return path + "." + rand.Text()[:partRandom] + partSuffix }

// RemoveParts removes what WriteFile and WriteDir left beside path when the process was killed in the middle of them. Call
// it only where no other process can be writing path.
func RemoveParts(path string) error {
	path = filepath.Clean(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing unfinished files of %q: %w", path, plain(err))
	}
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		middle, ends := strings.CutSuffix(middle, partSuffix)
		if !ok || !ends || len(middle) != partRandom || strings.Trim(middle, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
			return fmt.Errorf("removing unfinished files of %q: %w", path, plain(err))
		}
	}
	return nil
}

// WriteFile writes a file atomically: write gets a buffered writer to a temporary file in the same folder (its name
// ends in ".part"), which is synced and renamed to path once write has returned nil. On any error or panic the
// temporary file is removed and what was at path is untouched.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	tmp := partName(path)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("writing %q: %w", path, plain(err))
	}
	done := false
	defer func() {
		if !done {
			f.Close()
			os.Remove(tmp)
		}
		if err != nil {
			err = fmt.Errorf("writing %q: %w", path, plain(err))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<18)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		var le *os.LinkError
		if errors.As(err, &le) {
			err = le.Err
		}
		return err
	}
	done = true
	return syncDir(filepath.Dir(path))
}

// DirOption changes what WriteDir does.
type DirOption func(*dirOptions)

type dirOptions struct{ replace bool }

// Replace lets WriteDir put the new directory in an existing one's place.
func Replace() DirOption { return func(o *dirOptions) { o.replace = true } }

// WriteDir makes a directory atomically: build fills tmp, a new directory beside dir whose name ends in ".part", and
// once it has returned nil everything in it is synced and tmp is renamed to dir. An existing dir is refused with an
// error that wraps fs.ErrExist, before build runs, unless the option Replace is given. On any error or panic tmp is
// removed and what was at dir is untouched.
func WriteDir(dir string, build func(tmp string) error, opts ...DirOption) (err error) {
	var o dirOptions
	for _, f := range opts {
		f(&o)
	}
	dir = filepath.Clean(dir)
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing directory %q: %w", dir, plain(err))
		}
	}()
	old, err := os.Lstat(dir)
	switch {
	case err == nil && !o.replace:
		return fs.ErrExist
	case err == nil && !old.IsDir():
		return errors.New("a file is in its place")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	tmp := partName(dir)
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			os.RemoveAll(tmp)
		}
	}()
	if err := build(tmp); err != nil {
		return err
	}
	if err := syncTree(tmp); err != nil {
		return err
	}
	if err := moveDir(tmp, dir, o.replace); err != nil {
		return err
	}
	done = true
	return syncDir(filepath.Dir(dir))
}

// moveDir renames tmp to dir. No system replaces a full directory in one step: the old one steps aside first, and
// comes back if the new one cannot take its place.
func moveDir(tmp, dir string, replace bool) error {
	aside := ""
	if _, err := os.Lstat(dir); err == nil {
		if !replace {
			return fs.ErrExist // it appeared while build ran
		}
		aside = partName(dir)
		if err := os.Rename(dir, aside); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if aside != "" {
			err = errors.Join(err, os.Rename(aside, dir))
		}
		return err
	}
	if aside != "" {
		return os.RemoveAll(aside)
	}
	return nil
}

// syncTree syncs the files of a tree, then its directories.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(path)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrPermission) {
			return nil // the builder made it read-only: its own business
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
