package clip

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"paint/checkpoint"
	"paint/weights"
)

// Names of the files that the libraries write.
const (
	openCLIPConfig  = "open_clip_config.json"
	openCLIPWeights = "open_clip_model.safetensors"
	hfConfig        = "config.json"
	hfPreprocessor  = "preprocessor_config.json"
	hfWeights       = "model.safetensors"
	hfIndex         = "model" + checkpoint.IndexSuffix
)

// companions are the small files that belong to a checkpoint: they are kept and written back as they are.
var companions = []string{openCLIPConfig, hfConfig, hfPreprocessor, hfProcessor, "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
	"special_tokens_map.json", "added_tokens.json", "generation_config.json"}

const maxCompanion = 64 << 20

// folder is where a checkpoint lies: a directory, or a file system in memory.
type folder struct {
	fsys fs.FS
	dir  string // on disk; empty where there is none
}

func (f folder) has(name string) bool {
	s, err := fs.Stat(f.fsys, name)
	return err == nil && s.Mode().IsRegular()
}

// companion reads a small file, nil where there is none. What is there and cannot be read is an error: a configuration
// that is passed over would change the model.
func (f folder) companion(name string) ([]byte, error) {
	s, err := fs.Stat(f.fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, bare(err)
	case !s.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case s.Size() > maxCompanion:
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", s.Size(), maxCompanion)
	}
	r, err := f.fsys.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxCompanion+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(b) > maxCompanion {
		return nil, fmt.Errorf("has over %d bytes", maxCompanion)
	}
	return b, nil
}

// weights opens a file of tensors, or those that an index names.
func (f folder) weights(name string) (*weights.Set, *checkpoint.Sharding, error) {
	if f.dir != "" {
		open := checkpoint.Open
		if strings.HasSuffix(name, checkpoint.IndexSuffix) {
			open = checkpoint.OpenSharded
		}
		c, err := open(filepath.Join(f.dir, name))
		if err != nil {
			return nil, nil, err
		}
		return c.Set(), c.Sharding(), nil
	}
	if strings.HasSuffix(name, checkpoint.IndexSuffix) {
		return nil, nil, fmt.Errorf("reading index %q: a checkpoint in several files is read from a directory on disk only", name)
	}
	b, err := fs.ReadFile(f.fsys, name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading safetensors %q: %w", name, bare(err))
	}
	s, err := checkpoint.Decode(b)
	if err != nil {
		return nil, nil, fmt.Errorf("reading safetensors %q: %w", name, err)
	}
	return s, nil, nil
}

// Load reads a model from a directory in OpenCLIP or HF layout, or from its file of tensors; the configuration lies
// beside it. The layout is told from the names of the tensors. Every parameter must be there with its shape, nothing
// else but known buffers, and all values must be finite.
func Load(ref string) (*Model, error) {
	s, err := os.Stat(ref)
	if err != nil {
		return nil, fmt.Errorf("loading model %q: %w", ref, bare(err))
	}
	dir, name := ref, ""
	if !s.IsDir() {
		dir, name = filepath.Dir(ref), filepath.Base(ref)
	}
	m, err := load(folder{os.DirFS(dir), dir}, name)
	if err != nil {
		return nil, fmt.Errorf("loading model %q: %w", ref, err)
	}
	return m, nil
}

// LoadFS reads a model from the top of a file system. Sharded checkpoints need a directory: see Load.
func LoadFS(fsys fs.FS) (*Model, error) {
	m, err := load(folder{fsys, ""}, "")
	if err != nil {
		return nil, fmt.Errorf("loading model: %w", err)
	}
	return m, nil
}

func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func load(f folder, name string) (*Model, error) {
	if name == "" {
		var err error
		if name, err = f.find(); err != nil {
			return nil, err
		}
	}
	set, sharding, err := f.weights(name)
	if err != nil {
		return nil, err
	}
	m := &Model{Files: map[string][]byte{}, Extra: &weights.Set{}, file: name, sharding: sharding}
	if m.Layout, err = layoutOf(set); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if sharding != nil {
		if m.index, err = f.companion(name); err != nil {
			return nil, fmt.Errorf("reading %q: %w", name, err)
		}
	}
	for _, c := range companions {
		b, err := f.companion(c)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", c, err)
		}
		if b == nil {
			continue
		}
		m.Files[c] = b
	}
	if err := m.configure(set); err != nil {
		return nil, err
	}
	if err := m.adopt(set); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := m.Weights.CheckFinite(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m.Hash = m.Weights.Hash()
	return m, nil
}

// find picks the file of tensors in a directory: that of the configuration that is there, OpenCLIP's before HF's (hub
// repositories hold both), one file before an index as transformers does, else the only safetensors file.
func (f folder) find() (string, error) {
	switch {
	case f.has(openCLIPConfig) && f.has(openCLIPWeights):
		return openCLIPWeights, nil
	case f.has(hfWeights):
		return hfWeights, nil
	case f.has(hfIndex):
		return hfIndex, nil
	}
	names, err := fs.Glob(f.fsys, "*.safetensors")
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		found := "none"
		if len(names) > 1 {
			found = fmt.Sprintf("%d, %q and %q among them: name one", len(names), names[0], names[1])
		}
		return "", fmt.Errorf("looked for %s, %s, %s or one other .safetensors file: found %s", openCLIPWeights, hfWeights, hfIndex, found)
	}
	return names[0], nil
}

// configure reads the configuration file of the layout.
func (m *Model) configure(set *weights.Set) (err error) {
	if m.Layout == HF {
		b, ok := m.Files[hfConfig]
		if !ok {
			return fmt.Errorf("%s: not there, and the tensors have Hugging Face names", hfConfig)
		}
		p, ok := m.Files[hfPreprocessor]
		if !ok {
			p = m.Files[hfProcessor]
		}
		m.Config, err = ParseHF(b, p)
		return err
	}
	if b, ok := m.Files[openCLIPConfig]; ok {
		if m.Config, err = ParseOpenCLIP(b); err != nil {
			return fmt.Errorf("%s: %w", openCLIPConfig, err)
		}
		return nil
	}
	if m.Config, err = infer(set); err != nil {
		return fmt.Errorf("%s: not there, and the architecture cannot be told from the tensors: %w", openCLIPConfig, err)
	}
	m.Note = fmt.Sprintf("no %s: architecture told from the shapes; heads of 64 units, quick_gelu and OpenAI's normalisation assumed", openCLIPConfig)
	return nil
}

var errSize = errors.New("a tensor that says a size is missing, has another rank or a size out of range")

// infer reads the architecture off the shapes, as OpenAI's code does: heads are 64 wide.
func infer(s *weights.Set) (Config, error) {
	dim := func(name string, rank, axis int) int {
		t := s.Get(name)
		if t == nil || len(t.Shape) != rank {
			return 0
		}
		return t.Shape[axis]
	}
	blocks := func(prefix string) int {
		n := 0
		for s.Get(fmt.Sprintf("%stransformer.resblocks.%d.ln_1.weight", prefix, n)) != nil {
			n++
		}
		return n
	}
	vw, tw := dim("visual.conv1.weight", 4, 0), dim("ln_final.weight", 1, 0)
	patch, tokens := dim("visual.conv1.weight", 4, 3), dim("visual.positional_embedding", 2, 0)
	for _, v := range []int{vw, tw, patch, tokens} {
		if v < 1 || v > maxSize {
			return Config{}, errSize
		}
	}
	grid := 0
	for grid*grid < tokens-1 {
		grid++
	}
	c := Config{EmbedDim: dim("text_projection", 2, 1), QuickGELU: true, Preprocess: Preprocess{OpenAIMean, OpenAIStd}}
	c.Vision = Vision{ImageSize: grid * patch, PatchSize: patch, Width: vw, Layers: blocks("visual."), Heads: vw / 64, MLPWidth: 4 * vw, LayerNormEps: 1e-5}
	c.Text = Text{ContextLength: dim("positional_embedding", 2, 0), VocabSize: dim("token_embedding.weight", 2, 0), Width: tw, Layers: blocks(""), Heads: tw / 64,
		MLPWidth: 4 * tw, LayerNormEps: 1e-5, EOT: -1}
	if grid*grid != tokens-1 {
		return c, fmt.Errorf("tensor \"visual.positional_embedding\": %d positions are no square and one", tokens)
	}
	for _, v := range []int{vw, tw} {
		if v%64 != 0 {
			return c, fmt.Errorf("width is %d, no multiple of 64", v)
		}
	}
	return c, c.check()
}

// adopt moves the tensors of a file under internal names.
func (m *Model) adopt(set *weights.Set) error {
	m.Weights = &weights.Set{Metadata: set.Metadata}
	used := map[string]bool{}
	var problems []string
	for _, p := range m.Config.Params() {
		names, shape := m.Layout.fileNames(p.Name), m.Layout.shape(p)
		var ts []*weights.Tensor
		for _, n := range names {
			used[n] = true
			t := set.Get(n)
			switch {
			case t == nil:
				problems = append(problems, fmt.Sprintf("tensor %q: missing", n))
			case !slices.Equal(t.Shape, shape):
				problems = append(problems, fmt.Sprintf("tensor %q: shape %v, the configuration says %v", n, t.Shape, shape))
			case !t.DType.Float():
				problems = append(problems, fmt.Sprintf("tensor %q: type %v, want a floating-point type", n, t.DType))
			default:
				ts = append(ts, t)
			}
		}
		if len(ts) != len(names) || len(problems) > 0 {
			continue
		}
		t, err := m.Layout.toInternal(p, ts)
		if err != nil {
			return err
		}
		m.Weights.Put(t)
	}
	for t := range set.All() {
		m.Order = append(m.Order, t.Name)
		if used[t.Name] {
			continue
		}
		if !m.Layout.isExtra(t.Name) {
			problems = append(problems, fmt.Sprintf("tensor %q: shape %v, the configuration has no such parameter", t.Name, t.Shape))
			continue
		}
		m.Extra.Put(t)
	}
	switch n := len(problems); {
	case n > 1:
		return fmt.Errorf("%s (and %d more)", problems[0], n-1)
	case n == 1:
		return errors.New(problems[0])
	}
	return nil
}
