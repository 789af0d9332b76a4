// Package report turns the record of a run into what people read: tables, SVG pictures, a model card and one
// self-contained HTML file. It needs no model: everything is in run.json.
package report

// Run is the record of a run, the content of run.json. Accuracies are fractions.
type Run struct {
	Schema   int    `json:"schema"` // 1
	Tool     string `json:"tool"`   // "paint"
	Version  string `json:"version"`
	Kind     string `json:"kind"` // "patch" or "sweep"
	Started  string `json:"started"`
	Finished string `json:"finished,omitempty"`

	Config   map[string]any     `json:"config"` // as resolved: every option with its value
	Seed     uint64             `json:"seed"`
	Model    Model              `json:"model"`
	Patching []string           `json:"patching"`
	Support  []string           `json:"supported"`
	Tasks    map[string]Task    `json:"tasks"`
	Rule     string             `json:"rule"` // "mean" or "max-drop=1.0"
	Alpha    *float64           `json:"alpha"`
	Why      string             `json:"why"` // the choice in one sentence, for people
	Curve    []Point            `json:"curve"`
	Final    Final              `json:"final"` // test split: the two ends and the chosen alpha
	Training []TrainPoint       `json:"training,omitempty"`
	Change   Change             `json:"change"`
	Times    map[string]float64 `json:"seconds"` // by stage, and "total"
	PeakRSS  int64              `json:"peak_rss_bytes"`
	Machine  Machine            `json:"machine"`
	Command  string             `json:"command"`
}

// Model says what was patched.
type Model struct {
	Name       string `json:"name"`
	Layout     string `json:"layout"`
	Hash       string `json:"sha256"`
	Parameters int    `json:"parameters"`
	ImageTower int    `json:"image_tower_parameters"`
	ImageSize  int    `json:"image_size"`
	EmbedDim   int    `json:"embed_dim"`
	License    string `json:"license,omitempty"` // SPDX or Hub identifier, where it is known
}

// Task describes one task of a run.
type Task struct {
	Classes   []string          `json:"classes"`
	Templates []string          `json:"templates"`
	Source    string            `json:"source"`
	N         map[string]int    `json:"n"` // images by split
	Checksums map[string]string `json:"checksums,omitempty"`
	Split     string            `json:"split"` // how the validation part came to be
	License   string            `json:"license,omitempty"`
}

// Accuracy is a top-1 accuracy with its 95 % interval.
type Accuracy struct {
	Top1 float64    `json:"top1"`
	N    int        `json:"n"`
	CI95 [2]float64 `json:"ci95"`
}

// Point is the validation result at one alpha.
type Point struct {
	Alpha     float64             `json:"alpha"`
	Split     string              `json:"split"` // "validation"
	Accuracy  map[string]Accuracy `json:"accuracy"`
	Patching  float64             `json:"patching_mean"`
	Supported float64             `json:"supported_mean"`
}

// Final holds the test results.
type Final struct {
	ZeroShot  map[string]Accuracy `json:"zero_shot"`
	FineTuned map[string]Accuracy `json:"fine_tuned"`
	Patched   map[string]Accuracy `json:"patched"`
	// Difference is patched minus zero-shot, paired by image, with its interval.
	Difference map[string]Difference `json:"difference"`
	// Means over the tasks of each kind, with their intervals; keys "patching", "supported".
	Means map[string]Means `json:"means"`
}

// Difference is a paired difference of accuracies with its 95 % interval.
type Difference struct {
	Value float64    `json:"value"`
	CI95  [2]float64 `json:"ci95"`
}

// Means are mean accuracies over tasks.
type Means struct {
	ZeroShot   Accuracy   `json:"zero_shot"`
	FineTuned  Accuracy   `json:"fine_tuned"`
	Patched    Accuracy   `json:"patched"`
	Difference Difference `json:"difference"`
}

// TrainPoint is a logged step of fine-tuning.
type TrainPoint struct {
	Step     int     `json:"step"`
	Loss     float64 `json:"loss"`
	LR       float64 `json:"lr"`
	GradNorm float64 `json:"grad_norm"`
}

// Change measures how far fine-tuning moved the weights of the image tower.
type Change struct {
	L2       float64 `json:"l2"`
	Relative float64 `json:"relative"` // L2 over the norm of the zero-shot weights
	Cosine   float64 `json:"cosine"`   // between zero-shot and fine-tuned weights
}

// Machine is where the run took place.
type Machine struct {
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	CPU     string `json:"cpu"`
	Kernels string `json:"kernels"` // "avx512", "avx2", "go"
	Threads int    `json:"threads"`
}
