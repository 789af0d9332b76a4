package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"paint/preprocess"
)

// Limits on what a folder may hold.
const (
	maxImages    = 20 << 20
	maxImageFile = 256 << 20
	maxDepth     = 16 // of folders below a class folder
)

// imageExt are the file name endings, in any case, that count as images.
var imageExt = []string{".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}

type splitNames struct {
	name  string
	names []string
}

// splits are the parts in the order of use, with the folder names, in any case, under which each is looked for.
var splits = []splitNames{
	{"train", []string{"train", "training"}},
	{"validation", []string{"validation", "val", "valid", "dev"}},
	{"test", []string{"test", "testing"}},
}

// DefaultTemplate is the template of a task that brings none.
const DefaultTemplate = "a photo of a {}."

// file is one image of a folder.
type file struct {
	path  string
	label int
	group int
}

// folder is a part whose images are files.
type folder struct {
	fsys  fs.FS
	name  string // of the task, for messages
	files []file
}

func (f *folder) Len() int        { return len(f.files) }
func (f *folder) Label(i int) int { return f.files[i].label }
func (f *folder) Group(i int) int { return f.files[i].group }
func (f *folder) ID(i int) string { return path.Join(f.name, f.files[i].path) }

func (f *folder) Image(i int) (*preprocess.Image, error) {
	b, err := readLimited(f.fsys, f.files[i].path, maxImageFile)
	if err != nil {
		return nil, fmt.Errorf("reading image %q: %w", f.ID(i), err)
	}
	img, err := preprocess.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("reading image %q: %w", f.ID(i), err)
	}
	return img, nil
}

// readLimited reads a file of at most limit bytes.
func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	r, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b, nil
}

// OpenFolder reads a task from class folders of images, as torchvision's ImageFolder has them: below a split folder,
// or at the top, each folder is a class and holds its images, at any depth.
//
// Split folders are train (or training), validation (val, valid, dev) and test (testing), in upper or lower case. A
// folder of such a name that holds images itself is a class. Parts that are missing are made so:
//
//   - train and test: a tenth of train, at most 5000, becomes validation (SplitValidation, seed 0);
//   - train and validation: the validation folder is the test part, as ImageNet's is, and validation is split off train;
//   - train alone, or class folders at the top: a tenth becomes test, then as many of the rest validation;
//   - without train the task can only be evaluated; parts that are missing stay nil.
//
// Classes are the folders of train, or of all parts where there is no train, in natural order ("c2" before "c10"). A
// class may be missing from validation or test; a folder there that train lacks is an error, and so is a class folder
// without images. A class is called as its folder, underscores read as spaces, unless the top folder names it:
//
//   - classnames.json, {"folder": "name", ...} for at least the folders that are there, or a list in their order;
//   - classes.txt, one name a line in the order of the folders, or "folder<TAB>name" lines.
//
// templates.txt holds templates, one a line, each with one "{}" (or "{c}"); without it there is DefaultTemplate. Two
// images of a class folder whose paths are equal up to the last "--" of the name are views of one thing and share a
// group.
//
// Images end in .png, .jpg, .jpeg, .webp, .bmp, .gif, .tif, .tiff, .ppm or .pgm, in any case. Hidden files ("." in
// front), __MACOSX, Thumbs.db, desktop.ini and files with other endings are passed over. Links are followed as long
// as they stay inside the folder; os.Root's FS guarantees it (Open uses it), with another fs.FS only the links met are
// checked. Images are read when asked for, so a corrupt one shows in Image.
func OpenFolder(fsys fs.FS, name string) (*Task, error) {
	t, err := openFolder(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading image folder %q: %w", name, err)
	}
	return t, nil
}

func openFolder(fsys fs.FS, name string) (*Task, error) {
	s := &scanner{fsys: fsys, hash: sha256.New()}
	roots, err := s.splitFolders()
	if err != nil {
		return nil, err
	}
	flat := roots == nil
	if flat {
		roots = map[string]string{"train": "."}
	}
	// Which folders are classes.
	inSplit := map[string][]string{}
	var dirs []string
	for _, sp := range splits {
		root, ok := roots[sp.name]
		if !ok {
			continue
		}
		have, err := s.classDirs(root)
		if err != nil {
			return nil, err
		}
		inSplit[sp.name] = have
		for _, d := range have {
			switch {
			case slices.Contains(dirs, d):
			case sp.name != "train" && roots["train"] != "":
				return nil, fmt.Errorf("class folder %q is not in %q, which has %d classes", path.Join(root, d), roots["train"], len(inSplit["train"]))
			default:
				dirs = append(dirs, d)
			}
		}
	}
	slices.SortFunc(dirs, natural)
	t := &Task{Name: name, Checksums: map[string]string{}}
	if t.Classes, err = classNames(fsys, dirs); err != nil {
		return nil, err
	}
	if t.Templates, err = templates(fsys); err != nil {
		return nil, err
	}
	label := map[string]int{}
	for i, d := range dirs {
		label[d] = i
	}
	var parts parts
	for _, sp := range splits {
		root, ok := roots[sp.name]
		if !ok {
			continue
		}
		f := &folder{fsys: fsys, name: name}
		for _, d := range inSplit[sp.name] {
			if f.files, err = s.classFiles(f.files, path.Join(root, d), label[d]); err != nil {
				return nil, err
			}
		}
		parts.set(sp.name, root, f)
	}
	if err := t.assemble(parts); err != nil {
		return nil, err
	}
	t.Checksums["paths of the images"] = hex.EncodeToString(s.hash.Sum(nil))
	return t, nil
}

// scanner lists folders; hash is over the paths of the images in the order met.
type scanner struct {
	fsys  fs.FS
	hash  hash.Hash
	count int
}

// entry is a folder's member after links.
type entry struct {
	name   string
	dir    bool
	linked bool
}

// list returns the visible members of a folder in natural order.
func (s *scanner) list(dir string) ([]entry, error) {
	all, err := fs.ReadDir(s.fsys, dir)
	if err != nil {
		return nil, err
	}
	var out []entry
	for _, e := range all {
		n := e.Name()
		if hidden(n) {
			continue
		}
		mode, p := e.Type(), path.Join(dir, n)
		linked := mode&fs.ModeSymlink != 0
		if linked {
			if mode, err = s.follow(p); err != nil {
				return nil, err
			}
		}
		if !mode.IsDir() && !mode.IsRegular() {
			if !isImage(n) {
				continue
			}
			return nil, fmt.Errorf("%q is no regular file (%v)", p, mode)
		}
		out = append(out, entry{n, mode.IsDir(), linked})
	}
	slices.SortFunc(out, func(a, b entry) int { return natural(a.name, b.name) })
	return out, nil
}

// follow returns the type of what a link leads to.
func (s *scanner) follow(p string) (fs.FileMode, error) {
	if target, err := fs.ReadLink(s.fsys, p); err == nil {
		target = filepath.ToSlash(target)
		if path.IsAbs(target) || filepath.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(p), target)) {
			return 0, fmt.Errorf("link %q leaves the folder: it leads to %q", p, target)
		}
	}
	fi, err := fs.Stat(s.fsys, p)
	if err != nil {
		return 0, fmt.Errorf("link %q cannot be followed: %w", p, err)
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		return 0, fmt.Errorf("link %q in an archive", p)
	}
	return fi.Mode().Type(), nil
}

// splitFolders finds the split folders at the top: split -> folder, nil where the classes lie there themselves.
func (s *scanner) splitFolders() (map[string]string, error) {
	top, err := s.list(".")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	var others []string
	nested := false
	for _, e := range top {
		if !e.dir {
			continue
		}
		k := slices.IndexFunc(splits, func(sp splitNames) bool { return slices.Contains(sp.names, strings.ToLower(e.name)) })
		if k < 0 {
			others = append(others, e.name)
			continue
		}
		if old, ok := found[splits[k].name]; ok {
			return nil, fmt.Errorf("%q and %q are both %s folders", old, e.name, splits[k].name)
		}
		found[splits[k].name] = e.name
		inside, err := s.list(e.name)
		if err != nil {
			return nil, err
		}
		nested = nested || slices.ContainsFunc(inside, func(e entry) bool { return e.dir })
	}
	if len(found) == 0 || !nested && len(others) > 0 {
		return nil, nil
	}
	if len(others) > 0 {
		return nil, fmt.Errorf("folder %q stands beside split folders and is none (train, validation, test)", others[0])
	}
	return found, nil
}

// classDirs lists the class folders of a split in natural order.
func (s *scanner) classDirs(root string) ([]string, error) {
	es, err := s.list(root)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range es {
		switch {
		case e.dir:
			out = append(out, e.name)
		case isImage(e.name):
			return nil, fmt.Errorf("image %q lies in no class folder", path.Join(root, e.name))
		}
	}
	if len(out) == 0 {
		for _, e := range es {
			if err := refuse(path.Join(root, e.name)); err != nil {
				return nil, err
			}
		}
		return nil, fmt.Errorf("no class folders in %q", root)
	}
	return out, nil
}

// classFiles appends the images of a class folder.
func (s *scanner) classFiles(files []file, dir string, label int) ([]file, error) {
	before, groups := len(files), map[string]int{}
	other := ""
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		if depth > maxDepth {
			return fmt.Errorf("folder %q is more than %d folders deep", dir, maxDepth)
		}
		es, err := s.list(dir)
		if err != nil {
			return err
		}
		for _, e := range es {
			p := path.Join(dir, e.name)
			switch {
			case e.dir && e.linked:
				return fmt.Errorf("link %q leads to a folder inside a class folder", p)
			case e.dir:
				if err := walk(p, depth+1); err != nil {
					return err
				}
			case !isImage(e.name):
				other = e.name
			default:
				if s.count++; s.count > maxImages {
					return fmt.Errorf("more than %d images", maxImages)
				}
				key := p
				if k := strings.LastIndex(e.name, "--"); k > 0 {
					key = path.Join(dir, e.name[:k]) + "--"
				}
				g, ok := groups[key]
				if !ok {
					g = len(files) // the place of the group's first image: unique in the part
					groups[key] = g
				}
				files = append(files, file{p, label, g})
				fmt.Fprintf(s.hash, "%s\n", p)
			}
		}
		return nil
	}
	if err := walk(dir, 1); err != nil {
		return nil, err
	}
	if len(files) == before {
		if err := refuse(path.Join(dir, other)); err != nil {
			return nil, err
		}
		if other != "" {
			return nil, fmt.Errorf("class folder %q holds no image, but files such as %q", dir, other)
		}
		return nil, fmt.Errorf("class folder %q is empty", dir)
	}
	return files, nil
}

// hidden reports whether people would not see a file of that name as theirs.
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || name == "__MACOSX" || name == "Thumbs.db" || name == "desktop.ini"
}

func isImage(name string) bool {
	return slices.Contains(imageExt, strings.ToLower(path.Ext(name)))
}

// exists reports whether fsys has a file of that name; other errors than its absence count as there.
func exists(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return !errors.Is(err, fs.ErrNotExist)
}
