package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"paint/weights"
)

const (
	maxIndex  = 100_000_000 // bytes
	maxShards = 10_000
)

// IndexSuffix ends the name of a sharded checkpoint's index, as the hub's libraries write it.
const IndexSuffix = ".safetensors.index.json"

// Sharding says which file of a sharded checkpoint holds which tensors.
type Sharding struct {
	// Metadata is the index's "metadata", values as JSON text. WriteSharded sets "total_size" anew.
	Metadata map[string]json.RawMessage
	Shards   []Shard
}

// Shard is one file of a sharded checkpoint.
type Shard struct {
	Name     string // a plain name within the folder of the index
	Tensors  []string
	Metadata map[string]string // of the file's header
}

// Plan cuts set into shards of at most maxBytes of data, in the order of set; a larger tensor gets a shard of its own.
// Names are stem-00001-of-0000N.safetensors. Every shard gets the set's metadata.
func Plan(set *weights.Set, stem string, maxBytes int) *Sharding {
	var groups [][]string
	size := 0
	for t := range set.All() {
		if len(groups) == 0 || size+len(t.Data) > maxBytes && size > 0 {
			groups, size = append(groups, nil), 0
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], t.Name)
		size += len(t.Data)
	}
	s := &Sharding{}
	for i, g := range groups {
		s.Shards = append(s.Shards, Shard{
			Name: fmt.Sprintf("%s-%05d-of-%05d.safetensors", stem, i+1, len(groups)), Tensors: g, Metadata: set.Metadata})
	}
	return s
}

// OpenSharded maps the files that an index names. Their tensors must be exactly those of the index, each in the file
// that the index says. The files lie in the index's folder: a name with a path in it is refused.
func OpenSharded(indexPath string) (*File, error) {
	f, err := openSharded(indexPath)
	if err != nil {
		return nil, fmt.Errorf("reading index %q: %w", indexPath, plain(err))
	}
	return f, nil
}

func openSharded(indexPath string) (*File, error) {
	b, err := readSmall(indexPath, maxIndex)
	if err != nil {
		return nil, err
	}
	ix, err := parseIndex(b)
	if err != nil {
		return nil, err
	}
	out := &File{set: &weights.Set{}, sharding: &Sharding{Metadata: ix.metadata}}
	for _, name := range ix.files {
		f, err := Open(filepath.Join(filepath.Dir(indexPath), name))
		if err != nil {
			out.Close()
			return nil, err
		}
		out.release = append(out.release, f.release...)
		shard := Shard{Name: name, Metadata: f.set.Metadata}
		for t := range f.set.All() {
			if want, ok := ix.file[t.Name]; !ok || want != name {
				out.Close()
				if !ok {
					return nil, fmt.Errorf("tensor %q: in %q, not in the index", t.Name, name)
				}
				return nil, fmt.Errorf("tensor %q: in %q, the index says %q", t.Name, name, want)
			}
			shard.Tensors = append(shard.Tensors, t.Name)
			out.set.Put(t)
		}
		out.sharding.Shards = append(out.sharding.Shards, shard)
	}
	for _, name := range ix.tensors {
		if out.set.Get(name) == nil {
			out.Close()
			return nil, fmt.Errorf("tensor %q: not in %q, where the index says it is", name, ix.file[name])
		}
	}
	out.set.Metadata = commonMetadata(out.sharding.Shards)
	return out, nil
}

// commonMetadata returns what the headers of all shards agree on.
func commonMetadata(shards []Shard) map[string]string {
	var common map[string]string
	for i, s := range shards {
		if i == 0 && s.Metadata != nil {
			common = make(map[string]string)
			for k, v := range s.Metadata {
				common[k] = v
			}
		}
		for k, v := range common {
			if got, ok := s.Metadata[k]; !ok || got != v {
				delete(common, k)
			}
		}
	}
	return common
}

// index is the content of an index file.
type index struct {
	metadata map[string]json.RawMessage
	tensors  []string // in order
	files    []string // by name, which is by number as the libraries name them
	file     map[string]string
}

func parseIndex(b []byte) (*index, error) {
	s := &scanner{b: b}
	ix := &index{}
	seen := make(map[string]bool)
	err := s.object(func(key string) (err error) {
		if seen[key] {
			return s.errorf("key %q twice", key)
		}
		seen[key] = true
		switch key {
		case "metadata":
			if s.peek() != '{' {
				_, err = s.skip(1)
				return err
			}
			ix.metadata = make(map[string]json.RawMessage)
			return s.object(func(k string) error {
				if _, ok := ix.metadata[k]; ok {
					return s.errorf("metadata has key %q twice", k)
				}
				v, err := s.skip(2)
				ix.metadata[k] = append(json.RawMessage{}, v...)
				return err
			})
		case "weight_map":
			ix.tensors, ix.file, err = s.strings("weight_map")
			return err
		}
		_, err = s.skip(1)
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	if ix.file == nil {
		return nil, errors.New("has no weight_map")
	}
	known := make(map[string]bool)
	for _, t := range ix.tensors {
		f := ix.file[t]
		if known[f] {
			continue
		}
		known[f] = true
		if err := CheckName(f); err != nil {
			return nil, fmt.Errorf("weight_map: tensor %q: %w", t, err)
		}
		if len(ix.files) == maxShards {
			return nil, fmt.Errorf("weight_map names more than %d files", maxShards)
		}
		ix.files = append(ix.files, f)
	}
	slices.Sort(ix.files)
	return ix, nil
}

// CheckName refuses what is not the plain name of a file within a folder, on any system: paths, absolute or not, and
// names that a system gives a meaning of its own.
func CheckName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\:\x00") || !filepath.IsLocal(name) {
		return fmt.Errorf("file name %q is not a plain name within the folder", name)
	}
	return nil
}

// WriteSharded writes set as the files of s and an index at indexPath, in whose folder the files go. Every tensor of
// set must be in exactly one shard. Each file is written atomically and the index last; for a directory that appears
// at once or not at all, call it from WriteDir.
func WriteSharded(indexPath string, set *weights.Set, s *Sharding) error {
	if err := writeSharded(indexPath, set, s); err != nil {
		return fmt.Errorf("writing sharded checkpoint %q: %w", indexPath, err)
	}
	return nil
}

func writeSharded(indexPath string, set *weights.Set, s *Sharding) error {
	file := make(map[string]string)
	total := 0
	names := make(map[string]bool)
	for _, sh := range s.Shards {
		if err := CheckName(sh.Name); err != nil {
			return err
		}
		switch {
		case names[sh.Name]:
			return fmt.Errorf("shard %q twice", sh.Name)
		case sh.Name == filepath.Base(indexPath):
			return fmt.Errorf("shard %q has the name of the index", sh.Name)
		}
		names[sh.Name] = true
		for _, name := range sh.Tensors {
			t := set.Get(name)
			switch {
			case t == nil:
				return fmt.Errorf("shard %q: no tensor %q", sh.Name, name)
			case file[name] != "":
				return fmt.Errorf("tensor %q: in shards %q and %q", name, file[name], sh.Name)
			}
			file[name] = sh.Name
			total += len(t.Data)
		}
	}
	for t := range set.All() {
		if file[t.Name] == "" {
			return fmt.Errorf("tensor %q: in no shard", t.Name)
		}
	}
	for _, sh := range s.Shards {
		part := &weights.Set{Metadata: sh.Metadata}
		for _, name := range sh.Tensors {
			part.Put(set.Get(name))
		}
		if err := Write(filepath.Join(filepath.Dir(indexPath), sh.Name), part); err != nil {
			return err
		}
	}
	metadata := map[string]json.RawMessage{}
	for k, v := range s.Metadata {
		metadata[k] = v
	}
	metadata["total_size"] = json.RawMessage(fmt.Sprint(total))
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{"metadata": metadata, "weight_map": file}); err != nil {
		return err
	}
	return WriteFile(indexPath, func(w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err
	})
}

// readSmall reads a whole file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("grew past the limit of %d bytes", limit)
	}
	return b, err
}
