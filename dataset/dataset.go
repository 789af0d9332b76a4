// Package dataset reads classification tasks: splits, class names, templates and images.
//
// A Task has a train, a validation and a test part. Open resolves what a user names: a known data set (Known) below
// a data directory, a folder or zip of images (OpenFolder), or IDX files (ReadIDX). SplitValidation
// cuts a validation part off where the data has none, by a documented seed. Images are decoded when asked for.
//
// Data are taken as hostile: sizes are checked before memory is taken, and links that leave a folder are refused.
package dataset

import "paint/preprocess"

// Task is an image classification task.
type Task struct {
	Name      string
	Classes   []string // class names as they go into the templates
	Templates []string // each with one "{}"
	// Train may be nil for tasks that are only evaluated.
	Train, Validation, Test Part
	// Source says where the images came from, for the record of a run: "embedded", a directory.
	Source string
	// Split says, in one phrase, where the parts came from: with the data, or split off by a seed.
	Split string
	// Checksums of the files read, by name, sha256 in hex.
	Checksums map[string]string
}

// Part is one split of a task. Its methods are safe for concurrent use.
type Part interface {
	Len() int
	// Image decodes example i.
	Image(i int) (*preprocess.Image, error)
	// Label is the class of example i, an index into Task.Classes.
	Label(i int) int
	// Group is the cluster of example i: examples of one group (views of one drawing) are not independent, and
	// confidence intervals count groups. Without clusters it is i.
	Group(i int) int
	// ID names example i in messages: a path, or "train[12]".
	ID(i int) string
}
