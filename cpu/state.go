package cpu

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"paint/clip"
	"paint/weights"
)

// Names of a trainer's state.
const (
	statePrefixW, statePrefixM, statePrefixV = "weights.", "exp_avg.", "exp_avg_sq."
	stateStep, stateImage, stateText         = "step", "step.image", "step.text"
)

// trainedParams yields the groups and indices of the trained parameters in the order of Config.Params.
func (t *Trainer) trainedParams() iter.Seq2[*group, int] {
	return func(yield func(*group, int) bool) {
		for _, p := range t.cfg.Params() {
			for _, g := range []*group{t.image, t.text} {
				if g == nil || g.g == nil {
					continue
				}
				if i, ok := g.index[p.Name]; ok && !yield(g, i) {
					return
				}
			}
		}
	}
}

// counters yields the step counts by their names in the state.
func (t *Trainer) counters() iter.Seq2[string, *int] {
	return func(yield func(string, *int) bool) {
		if !yield(stateStep, &t.step) {
			return
		}
		if t.opt.Image && !yield(stateImage, &t.image.step) {
			return
		}
		if t.opt.Text {
			yield(stateText, &t.text.step)
		}
	}
}

func copyOf(name string, v []float32, shape []int) *weights.Tensor {
	return weights.FromFloat32(name, slices.Clone(v), slices.Clone(shape)...)
}

// Weights implements clip.Trainer.
func (t *Trainer) Weights() *weights.Set {
	s := &weights.Set{}
	for g, i := range t.trainedParams() {
		s.Put(copyOf(g.params[i].Name, g.at(g.w, i), g.params[i].Shape))
	}
	return s
}

// State implements clip.Trainer.
func (t *Trainer) State() *weights.Set {
	s := &weights.Set{}
	for g, i := range t.trainedParams() {
		p := g.params[i]
		s.Put(copyOf(statePrefixW+p.Name, g.at(g.w, i), p.Shape))
		s.Put(copyOf(statePrefixM+p.Name, g.at(g.m, i), p.Shape))
		s.Put(copyOf(statePrefixV+p.Name, g.at(g.v, i), p.Shape))
	}
	for name, n := range t.counters() {
		c := weights.New(name, weights.I64)
		binary.LittleEndian.PutUint64(c.Data, uint64(*n))
		s.Put(c)
	}
	return s
}

// Restore implements clip.Trainer. All of state is checked before anything is set.
func (t *Trainer) Restore(state *weights.Set) error {
	const op = "cpu: restoring a trainer"
	want := 0
	for g, i := range t.trainedParams() {
		p := g.params[i]
		for _, prefix := range []string{statePrefixW, statePrefixM, statePrefixV} {
			x := state.Get(prefix + p.Name)
			if x == nil {
				return fmt.Errorf("%s: the state has no tensor %q", op, prefix+p.Name)
			}
			if err := check(clip.Param{Name: prefix + p.Name, Shape: p.Shape}, x); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
			if x.DType != weights.F32 {
				return fmt.Errorf("%s: tensor %q: type %v, want %v", op, x.Name, x.DType, weights.F32)
			}
			want++
		}
	}
	counts := make(map[string]int)
	for name := range t.counters() {
		x := state.Get(name)
		if x == nil || x.DType != weights.I64 || x.Len() != 1 || len(x.Data) != 8 {
			return fmt.Errorf("%s: the state has no I64 scalar %q", op, name)
		}
		v := int64(binary.LittleEndian.Uint64(x.Data))
		if v < 0 || v > 1<<40 {
			return fmt.Errorf("%s: %q is %d", op, name, v)
		}
		counts[name] = int(v)
		want++
	}
	if state.Len() != want {
		return fmt.Errorf("%s: the state has %d tensors, this trainer %d", op, state.Len(), want)
	}
	for g, i := range t.trainedParams() {
		name := g.params[i].Name
		state.Get(statePrefixW + name).CopyFloat32(g.at(g.w, i))
		state.Get(statePrefixM + name).CopyFloat32(g.at(g.m, i))
		state.Get(statePrefixV + name).CopyFloat32(g.at(g.v, i))
	}
	for name, n := range t.counters() {
		*n = counts[name]
	}
	return nil
}
