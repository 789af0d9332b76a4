package enginetest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"paint/clip"
	"paint/weights"
)

// testBatches checks that features do not depend on what is encoded with them.
func testBatches(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	m := encoder(t, e, cfg, Weights(cfg, 1))
	const n = 37
	pixels, ids := Pixels(cfg, n, 2), IDs(cfg, n, 3)
	images, texts := encodeImage(t, m, cfg, pixels), encodeText(t, m, cfg, ids)
	px := len(pixels) / n
	for _, step := range []int{1, 2, 5, 36} {
		var im, tx []float32
		for i := 0; i < n; i += step {
			j := min(n, i+step)
			im = append(im, encodeImage(t, m, cfg, pixels[i*px:j*px])...)
			tx = append(tx, encodeText(t, m, cfg, ids[i*cfg.Text.ContextLength:j*cfg.Text.ContextLength])...)
		}
		if !slices.Equal(im, images) {
			t.Errorf("images encoded %d at a time differ from all at once", step)
		}
		if !slices.Equal(tx, texts) {
			t.Errorf("texts encoded %d at a time differ from all at once", step)
		}
	}
	// What is behind the pooled token makes no difference.
	other := slices.Clone(ids)
	for i := range n {
		text := other[i*cfg.Text.ContextLength:][:cfg.Text.ContextLength]
		clear(text[slices.Index(text, 12)+1:])
	}
	if !slices.Equal(encodeText(t, m, cfg, other), texts) {
		t.Error("tokens behind end-of-text change the features")
	}
	// Nothing encodes to nothing.
	if got := encodeImage(t, m, cfg, nil); len(got) != 0 {
		t.Errorf("no images give %d values", len(got))
	}
	if got := encodeText(t, m, cfg, nil); len(got) != 0 {
		t.Errorf("no texts give %d values", len(got))
	}
}

func testSetWeights(t *testing.T, e clip.Engine) {
	cfg := Small(false, -1)
	w1, w2 := Weights(cfg, 1), Weights(cfg, 2)
	pixels, ids := Pixels(cfg, 3, 2), IDs(cfg, 3, 3)
	m, want := encoder(t, e, cfg, w1), encoder(t, e, cfg, w2)
	visual := &weights.Set{}
	for x := range w2.All() {
		if strings.HasPrefix(x.Name, "visual.") {
			visual.Put(x)
		}
	}
	texts := encodeText(t, m, cfg, ids)
	if err := m.SetWeights(visual); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(encodeImage(t, m, cfg, pixels), encodeImage(t, want, cfg, pixels)) {
		t.Error("image features after SetWeights are not those of the new weights")
	}
	if !slices.Equal(encodeText(t, m, cfg, ids), texts) {
		t.Error("SetWeights of the image tower changed text features")
	}
	bad := &weights.Set{}
	bad.Put(w1.Get("visual.proj"))
	bad.Put(weights.FromFloat32("visual.nothing", []float32{1}, 1))
	wantError(t, "unknown tensor", m.SetWeights(bad), "visual.nothing")
	bad = &weights.Set{}
	bad.Put(w1.Get("visual.proj"))
	bad.Put(weights.FromFloat32("visual.class_embedding", []float32{1, 2}, 2))
	wantError(t, "wrong shape", m.SetWeights(bad), "visual.class_embedding", "[2]", "[12]")
	if !slices.Equal(encodeImage(t, m, cfg, pixels), encodeImage(t, want, cfg, pixels)) {
		t.Error("SetWeights that failed changed weights")
	}
	// The set is the caller's: changing its memory afterwards changes nothing.
	own := make([]float32, cfg.Vision.Width)
	set := &weights.Set{}
	set.Put(weights.FromFloat32("visual.class_embedding", own, len(own)))
	if err := m.SetWeights(set); err != nil {
		t.Fatal(err)
	}
	before := encodeImage(t, m, cfg, pixels)
	own[0] = 100
	if !slices.Equal(encodeImage(t, m, cfg, pixels), before) {
		t.Error("the encoder shares memory with the set it was given")
	}
}

// testFrozen checks what is trained, and that decay reaches all of it.
func testFrozen(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	w := Weights(cfg, 4)
	for _, c := range []struct{ image, text bool }{{true, false}, {false, true}, {true, true}} {
		m := trainer(t, e, cfg, w, adamW(c.image, c.text))
		var err error
		if c.text {
			_, err = m.StepContrastive(context.Background(), contrastiveBatch(cfg, 3, 1), 1e-2)
		} else {
			_, err = m.StepHead(context.Background(), headBatch(cfg, 3, 2, 0, 1), 1e-2)
		}
		if err != nil {
			t.Fatal(err)
		}
		after := m.Weights()
		for x := range w.All() {
			trained := c.text
			if strings.HasPrefix(x.Name, "visual.") {
				trained = c.image
			}
			got := after.Get(x.Name)
			if (got != nil) != trained {
				t.Errorf("image=%v text=%v: tensor %q trained: %v", c.image, c.text, x.Name, got != nil)
			}
			if got == nil {
				continue
			}
			if fmt.Sprint(got.Shape) != fmt.Sprint(x.Shape) || got.DType != weights.F32 {
				t.Errorf("tensor %q: %v %v, want %v F32", x.Name, got.Shape, got.DType, x.Shape)
			}
			for i, v := range x.Float32() {
				if v != 0 && got.Float32()[i] == v {
					t.Errorf("image=%v text=%v: %s[%d] did not move", c.image, c.text, x.Name, i)
					break
				}
			}
		}
	}
	// A step over a head leaves the text tower alone.
	m := trainer(t, e, cfg, w, adamW(true, true))
	if _, err := m.StepHead(context.Background(), headBatch(cfg, 3, 2, 0, 1), 1e-2); err != nil {
		t.Fatal(err)
	}
	for x := range m.Weights().All() {
		if !strings.HasPrefix(x.Name, "visual.") && !slices.Equal(x.Float32(), w.Get(x.Name).Float32()) {
			t.Errorf("a step over a head changed %q", x.Name)
		}
	}
	_, err := trainer(t, e, cfg, w, adamW(false, true)).StepHead(context.Background(), headBatch(cfg, 3, 2, 0, 1), 1e-2)
	wantError(t, "head step without image tower", err)
	_, err = trainer(t, e, cfg, w, adamW(true, false)).StepContrastive(context.Background(), contrastiveBatch(cfg, 3, 1), 1e-2)
	wantError(t, "contrastive step without text tower", err)
}

// testRestore checks that a restored trainer goes on to the bit, and that State gives copies.
func testRestore(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	o := adamW(true, true)
	o.ClipNorm = 0.5
	step := func(m clip.Trainer, i int) clip.StepStats {
		t.Helper()
		var s clip.StepStats
		var err error
		if i%3 == 0 {
			s, err = m.StepHead(context.Background(), headBatch(cfg, 4, 3, 0.1, uint64(i)), 1e-3)
		} else {
			s, err = m.StepContrastive(context.Background(), contrastiveBatch(cfg, 4, uint64(i)), 2e-3)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := trainer(t, e, cfg, Weights(cfg, 5), o)
	for i := range 4 {
		step(a, i)
	}
	state := a.State()
	b := trainer(t, e, cfg, Weights(cfg, 6), o)
	step(b, 8)
	if err := b.Restore(state); err != nil {
		t.Fatal(err)
	}
	same(t, "state after Restore", b.State(), state)
	for i := 4; i < 8; i++ {
		if x, y := step(a, i), step(b, i); x != y {
			t.Errorf("step %d: %+v, restored %+v", i, x, y)
		}
	}
	same(t, "state of the restored trainer", b.State(), a.State())
	if slices.Equal(state.Get("weights.visual.proj").Float32(), a.State().Get("weights.visual.proj").Float32()) {
		t.Error("State shares memory with the trainer")
	}

	before := b.State()
	for _, missing := range []string{"weights.visual.proj", "exp_avg.logit_scale", "step"} {
		part := &weights.Set{}
		for x := range state.All() {
			if x.Name != missing {
				part.Put(x)
			}
		}
		wantError(t, "state without "+missing, b.Restore(part), missing)
	}
	wrong := &weights.Set{}
	for x := range state.All() {
		if x.Name == "exp_avg_sq.visual.class_embedding" {
			x = weights.New(x.Name, weights.F32, 3)
		}
		wrong.Put(x)
	}
	wantError(t, "state of a wrong shape", b.Restore(wrong), "exp_avg_sq.visual.class_embedding", "[3]")
	same(t, "state after Restore that failed", b.State(), before)
}

// expiring is a context that ends when it has been asked n times.
type expiring struct {
	context.Context
	n int
}

func (c *expiring) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

func (c *expiring) Deadline() (time.Time, bool) { return time.Time{}, false }

// testCancel checks that an ended context stops everything, and at whatever point it ends leaves a trainer as it was.
func testCancel(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	w := Weights(cfg, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := encoder(t, e, cfg, w)
	wantCanceled(t, "EncodeImage", m.EncodeImage(ctx, make([]float32, 2*cfg.EmbedDim), Pixels(cfg, 2, 1)))
	wantCanceled(t, "EncodeText", m.EncodeText(ctx, make([]float32, 2*cfg.EmbedDim), IDs(cfg, 2, 1)))
	tr := trainer(t, e, cfg, w, adamW(true, true))
	before := tr.State()
	_, err := tr.StepHead(ctx, headBatch(cfg, 3, 2, 0, 1), 1e-2)
	wantCanceled(t, "StepHead", err)
	_, err = tr.StepContrastive(ctx, contrastiveBatch(cfg, 3, 1), 1e-2)
	wantCanceled(t, "StepContrastive", err)
	for n := range 100 {
		if _, err = tr.StepContrastive(&expiring{context.Background(), n}, contrastiveBatch(cfg, 3, 1), 1e-2); err == nil {
			break
		}
		wantCanceled(t, "StepContrastive", err)
		same(t, "state after a cancelled step", tr.State(), before)
	}
	if err != nil {
		t.Errorf("StepContrastive asked its context more than 100 times: %v", err)
	}
	fresh := trainer(t, e, cfg, w, adamW(true, true))
	if _, err := fresh.StepContrastive(context.Background(), contrastiveBatch(cfg, 3, 1), 1e-2); err != nil {
		t.Fatal(err)
	}
	same(t, "state after cancelled steps and one that was not", tr.State(), fresh.State())
}

// testNotFinite checks that a step whose loss or gradient is no number says so and changes nothing.
func testNotFinite(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	tr := trainer(t, e, cfg, Weights(cfg, 1), adamW(true, true))
	if _, err := tr.StepHead(context.Background(), headBatch(cfg, 3, 2, 0, 1), 1e-3); err != nil {
		t.Fatal(err)
	}
	before := tr.State()
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		h, c := headBatch(cfg, 3, 2, 0, 1), contrastiveBatch(cfg, 3, 1)
		h.Pixels[7], c.Pixels[7] = bad, bad
		_, err := tr.StepHead(context.Background(), h, 1e-3)
		wantError(t, fmt.Sprintf("head step with a pixel %g", bad), err, "step 2")
		_, err = tr.StepContrastive(context.Background(), c, 1e-3)
		wantError(t, fmt.Sprintf("contrastive step with a pixel %g", bad), err, "step 2")
		h = headBatch(cfg, 3, 2, 0, 1)
		h.Head[1] = bad
		_, err = tr.StepHead(context.Background(), h, 1e-3)
		wantError(t, fmt.Sprintf("step with a value %g in the head", bad), err, "step 2")
	}
	same(t, "state after steps that failed", tr.State(), before)
	if _, err := tr.StepHead(context.Background(), headBatch(cfg, 3, 2, 0, 1), 1e-3); err != nil {
		t.Errorf("a good step after bad ones: %v", err)
	}
}

// testLogitScale checks that the factor of the cosines stays at or below 100.
func testLogitScale(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	w := Weights(cfg, 1)
	w.Put(weights.FromFloat32("logit_scale", []float32{5}))
	tr := trainer(t, e, cfg, w, adamW(true, true))
	if _, err := tr.StepContrastive(context.Background(), contrastiveBatch(cfg, 3, 1), 1e-4); err != nil {
		t.Fatal(err)
	}
	if got := tr.Weights().Get("logit_scale").Float32()[0]; got != float32(math.Log(100)) {
		t.Errorf("logit scale %g after a step from 5, want ln 100", got)
	}
}

func testErrors(t *testing.T, e clip.Engine) {
	cfg := Small(true, 12)
	w := Weights(cfg, 1)
	ctx := context.Background()
	m := encoder(t, e, cfg, w)
	pixels, ids := Pixels(cfg, 2, 1), IDs(cfg, 2, 1)
	dst := make([]float32, 2*cfg.EmbedDim)
	wantError(t, "pixels too short", m.EncodeImage(ctx, dst, pixels[1:]), fmt.Sprint(len(pixels)-1))
	wantError(t, "dst too short for images", m.EncodeImage(ctx, dst[1:], pixels), fmt.Sprint(len(dst)-1))
	wantError(t, "ids too short", m.EncodeText(ctx, dst, ids[1:]), fmt.Sprint(len(ids)-1))
	wantError(t, "dst too short for texts", m.EncodeText(ctx, dst[1:], ids), fmt.Sprint(len(dst)-1))
	for _, id := range []int32{-1, int32(cfg.Text.VocabSize), math.MaxInt32, math.MinInt32} {
		bad := slices.Clone(ids)
		bad[len(bad)-1] = id
		wantError(t, "id out of the vocabulary", m.EncodeText(ctx, dst, bad), fmt.Sprint(id), fmt.Sprint(cfg.Text.VocabSize))
	}

	tr := trainer(t, e, cfg, w, adamW(true, true))
	before := tr.State()
	for what, change := range map[string]func(b *clip.HeadBatch){
		"no images":            func(b *clip.HeadBatch) { b.Pixels, b.Labels = nil, nil },
		"part of an image":     func(b *clip.HeadBatch) { b.Pixels = b.Pixels[1:] },
		"a label too few":      func(b *clip.HeadBatch) { b.Labels = b.Labels[1:] },
		"a label too large":    func(b *clip.HeadBatch) { b.Labels[1] = 2 },
		"a negative label":     func(b *clip.HeadBatch) { b.Labels[1] = -1 },
		"no head":              func(b *clip.HeadBatch) { b.Head = nil },
		"part of a class":      func(b *clip.HeadBatch) { b.Head = b.Head[1:] },
		"smoothing of 1":       func(b *clip.HeadBatch) { b.LabelSmoothing = 1 },
		"smoothing of NaN":     func(b *clip.HeadBatch) { b.LabelSmoothing = math.NaN() },
		"a negative smoothing": func(b *clip.HeadBatch) { b.LabelSmoothing = -0.1 },
	} {
		b := headBatch(cfg, 3, 2, 0, 1)
		change(&b)
		_, err := tr.StepHead(ctx, b, 1e-3)
		wantError(t, what, err)
	}
	for what, change := range map[string]func(b *clip.ContrastiveBatch){
		"no pairs":          func(b *clip.ContrastiveBatch) { b.Pixels, b.IDs = nil, nil },
		"an image too few":  func(b *clip.ContrastiveBatch) { b.Pixels = b.Pixels[len(b.Pixels)/3:] },
		"a text too few":    func(b *clip.ContrastiveBatch) { b.IDs = b.IDs[len(b.IDs)/3:] },
		"part of a text":    func(b *clip.ContrastiveBatch) { b.IDs = b.IDs[1:] },
		"a negative id":     func(b *clip.ContrastiveBatch) { b.IDs[2] = -3 },
		"an id too large":   func(b *clip.ContrastiveBatch) { b.IDs[2] = 13 },
		"part of a picture": func(b *clip.ContrastiveBatch) { b.Pixels = b.Pixels[1:] },
	} {
		b := contrastiveBatch(cfg, 3, 1)
		change(&b)
		_, err := tr.StepContrastive(ctx, b, 1e-3)
		wantError(t, what, err)
	}
	for _, lr := range []float64{-1, math.NaN(), math.Inf(1)} {
		_, err := tr.StepHead(ctx, headBatch(cfg, 3, 2, 0, 1), lr)
		wantError(t, "head step with that learning rate", err, fmt.Sprint(lr))
		_, err = tr.StepContrastive(ctx, contrastiveBatch(cfg, 3, 1), lr)
		wantError(t, "contrastive step with that learning rate", err, fmt.Sprint(lr))
	}
	same(t, "state after steps that failed", tr.State(), before)

	for what, change := range map[string]func(o *clip.TrainOptions){
		"nothing trained":  func(o *clip.TrainOptions) { o.Image, o.Text = false, false },
		"beta of 1":        func(o *clip.TrainOptions) { o.Beta1 = 1 },
		"negative beta":    func(o *clip.TrainOptions) { o.Beta2 = -0.1 },
		"no epsilon":       func(o *clip.TrainOptions) { o.Eps = 0 },
		"decay of NaN":     func(o *clip.TrainOptions) { o.WeightDecay = math.NaN() },
		"a negative limit": func(o *clip.TrainOptions) { o.ClipNorm = -1 },
	} {
		o := adamW(true, true)
		change(&o)
		_, err := e.NewTrainer(cfg, w, o)
		wantError(t, what, err)
	}
	part := &weights.Set{}
	for x := range w.All() {
		if x.Name != "visual.proj" {
			part.Put(x)
		}
	}
	_, err := e.NewEncoder(cfg, part)
	wantError(t, "encoder without a tensor", err, "visual.proj")
	_, err = e.NewTrainer(cfg, part, adamW(true, false))
	wantError(t, "trainer without a tensor", err, "visual.proj")
	for what, change := range map[string]func(c *clip.Config){
		"no heads":                func(c *clip.Config) { c.Vision.Heads = 0 },
		"heads that do not fit":   func(c *clip.Config) { c.Text.Heads = 3 },
		"patches that do not fit": func(c *clip.Config) { c.Vision.PatchSize = 3 },
		"a width of other weights": func(c *clip.Config) {
			c.Vision.Width = 24
		},
	} {
		c := cfg
		change(&c)
		_, err := e.NewEncoder(c, w)
		wantError(t, "encoder with "+what, err)
		_, err = e.NewTrainer(c, w, adamW(true, true))
		wantError(t, "trainer with "+what, err)
	}
}
