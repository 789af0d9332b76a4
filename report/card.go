package report

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// ModelCard is README.md of the run directory: front matter as the Hub reads it, then what the model is, the method, the
// results, how it was made, how to load it, and its limits.
func ModelCard(run *Run) string {
	var b strings.Builder
	run.frontMatter(&b)
	s := run.summary()
	fmt.Fprintf(&b, "# %s\n\n", mdText(run.title()))
	run.cardIntro(&b)
	run.cardResults(&b, s)
	run.cardTraining(&b)
	run.cardData(&b)
	run.cardLoading(&b)
	run.cardLimits(&b, s)
	if run.Command != "" {
		fmt.Fprintf(&b, "## The exact command\n\n%s\n", mdFence("sh", run.Command))
	}
	return b.String()
}

// hubIDs are the Hub repositories of OpenCLIP names whose tag alone does not give one.
var hubIDs = map[string]string{
	"ViT-B-32/openai":                "openai/clip-vit-base-patch32",
	"ViT-B-16/openai":                "openai/clip-vit-base-patch16",
	"ViT-L-14/openai":                "openai/clip-vit-large-patch14",
	"ViT-L-14-336/openai":            "openai/clip-vit-large-patch14-336",
	"ViT-B-32/laion2b_s34b_b79k":     "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
	"ViT-B-16/laion2b_s34b_b88k":     "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
	"ViT-L-14/laion2b_s32b_b82k":     "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
	"ViT-B-32/datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
}

var hubID = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$`)

// baseModel is the Hub repository of the model, or "" where its name does not tell one: a wrong link would be worse than
// none.
func (m Model) baseModel() string {
	if id, ok := hubIDs[m.Name]; ok {
		return id
	}
	id, ok := strings.CutPrefix(m.Name, "hf-hub:")
	if !ok {
		return ""
	}
	id, _, _ = strings.Cut(id, "@")
	if !hubID.MatchString(id) {
		return ""
	}
	return id
}

// library is the Hub's name of the library that loads the layout.
func (m Model) library() string {
	if m.Layout == "hf" {
		return "transformers"
	}
	return "open_clip"
}

// yamlText quotes any string for YAML: a JSON string is a YAML double-quoted scalar.
func yamlText(s string) string {
	b, err := json.Marshal(strings.ToValidUTF8(s, "\ufffd"))
	if err != nil { // a string always has a JSON form
		return `""`
	}
	return string(b)
}

func (run *Run) frontMatter(b *strings.Builder) {
	b.WriteString("---\n")
	if id := run.Model.baseModel(); id != "" {
		fmt.Fprintf(b, "base_model: %s\nbase_model_relation: finetune\n", id)
	}
	fmt.Fprintf(b, "library_name: %s\npipeline_tag: zero-shot-image-classification\n", run.Model.library())
	if run.Model.License != "" {
		fmt.Fprintf(b, "license: %s\n", yamlText(run.Model.License))
	}
	b.WriteString("tags:\n- clip\n- zero-shot-image-classification\n- model-patching\n- paint\n- weight-interpolation\n")
	if len(run.Final.Patched) > 0 {
		fmt.Fprintf(b, "model-index:\n- name: %s\n  results:\n", yamlText(run.title()))
		for _, name := range run.names() {
			a, ok := run.Final.Patched[name]
			if !ok {
				continue
			}
			fmt.Fprintf(b, "  - task:\n      type: zero-shot-image-classification\n    dataset:\n      name: %s\n      type: %s\n      split: test\n"+
				"    metrics:\n    - type: accuracy\n      name: top-1 accuracy\n      value: %s\n", yamlText(name), yamlText(name), pct(a.Top1))
		}
	}
	b.WriteString("---\n\n")
}

func (run *Run) cardIntro(b *strings.Builder) {
	base := mdText(orMissing(run.Model.Name))
	if id := run.Model.baseModel(); id != "" {
		base = fmt.Sprintf("[%s](https://huggingface.co/%s)", mdText(run.Model.Name), id)
	}
	tasks := "its supported tasks"
	if len(run.Support) > 0 {
		tasks = mdText(list(run.Support, 10))
	}
	fmt.Fprintf(b, "This is %s, patched to do better on %s while keeping its accuracy on %s. It has the architecture and the number of parameters"+
		" of the original, the text tower is unchanged, and it still takes any labels: no classifier was added.\n\n", base, mdText(list(run.Patching, 10)), tasks)
	b.WriteString("## Method\n\n")
	b.WriteString(methodText(run.strategy()))
	alpha := ""
	if run.Alpha != nil {
		alpha = fmt.Sprintf(", with alpha = %s here", run.alphaText(*run.Alpha))
	}
	fmt.Fprintf(b, "theta_zs are the zero-shot weights, theta_ft the fine-tuned ones%s. The method is PAINT: Ilharco et al., *Patching open-vocabulary"+
		" models by interpolating weights*, NeurIPS 2022, [arXiv:2208.05592](https://arxiv.org/abs/2208.05592).\n\n", alpha)
}

// strategy is how several tasks were patched: "joint", "sequential" or "parallel"; "" with one task.
func (run *Run) strategy() string {
	if s, ok := run.Config["strategy"].(string); ok && len(run.Patching) > 1 {
		return s
	}
	return ""
}

func methodText(strategy string) string {
	const (
		average = "```text\ntheta_patch = (1 - alpha) * theta_zs + alpha * theta_ft\n```\n\n"
		head    = "with a frozen head made of the text tower's class embeddings"
	)
	switch strategy {
	case "parallel":
		return "The image tower was fine-tuned on each patching task by itself " + head + ". The changes of the weights were then added up:\n\n" +
			"```text\ntheta_patch = theta_zs + sum over tasks i of alpha_i * (theta_ft_i - theta_zs)\n```\n\n"
	case "sequential":
		return "The patching tasks were taken one after the other. For each, the image tower was fine-tuned " + head +
			", starting from the model patched so far, and the weights from before and after were averaged:\n\n" + average
	case "joint":
		return "The image tower was fine-tuned on all patching tasks together " + head + ". The weights from before and after were then averaged:\n\n" + average
	}
	return "The image tower was fine-tuned on the patching task " + head + ". The weights from before and after were then averaged:\n\n" + average
}

func (run *Run) cardResults(b *strings.Builder, s summary) {
	b.WriteString("## Results\n\n")
	if len(s.Lines) == 0 {
		b.WriteString("This run recorded no results.\n\n")
	} else {
		fmt.Fprintf(b, "Top-1 accuracy in percent on the %s split, with 95 %% intervals.\n\n", s.Split)
		run.summaryGrid(s).markdown(b)
		fmt.Fprintf(b, "\nTask by task; the difference is patched minus zero-shot, in points, paired by image.\n\n")
		run.taskGrid(s).markdown(b)
		b.WriteString("\n")
	}
	if len(run.Curve) > 0 {
		b.WriteString("![Accuracy on the patching task against accuracy on the supported tasks](frontier.svg)\n\n")
	}
	b.WriteString("### Alpha\n\n")
	if run.Why != "" {
		b.WriteString(mdText(run.Why) + "\n\n")
	}
	switch {
	case run.Alpha == nil:
		b.WriteString("No alpha was chosen in this run.\n\n")
	case run.Rule != "":
		fmt.Fprintf(b, "Alpha was chosen by the rule %s on validation data.", mdCode(run.Rule))
		if s.Split == "test" {
			b.WriteString(" The test split was scored for the two ends and the chosen alpha only.")
		}
		b.WriteString("\n\n")
	}
	pts := run.points()
	if len(pts) == 0 {
		return
	}
	fmt.Fprintf(b, "<details><summary>Every alpha, %s split</summary>\n\n", mdText(splitOf(pts)))
	g := run.gridTable(pts)
	fmt.Fprintf(b, "| alpha | %s |\n|%s\n", strings.Join(mapText(g.Columns), " | "), strings.Repeat("---:|", len(g.Columns)+1))
	for _, r := range g.Rows {
		cells := append([]string{r.Name}, r.Values...)
		if r.Class == "chosen" {
			for i := range cells {
				cells[i] = "**" + cells[i] + "**"
			}
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString("\n</details>\n\n")
}

func mapText(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = mdText(s)
	}
	return out
}

func (run *Run) cardTraining(b *strings.Builder) {
	b.WriteString("## Training\n\n| setting | value |\n|---|---|\n")
	fmt.Fprintf(b, "| seed | %d |\n", run.Seed)
	for _, s := range run.settings() {
		if s.Key == "seed" {
			continue
		}
		fmt.Fprintf(b, "| %s | %s |\n", mdText(s.Key), mdCode(s.Value))
	}
	b.WriteString("\n")
	if n := len(run.Training); n > 0 {
		last := run.Training[n-1]
		fmt.Fprintf(b, "The last logged step is %d, with loss %.4g.", last.Step, last.Loss)
		if run.Change == (Change{}) {
			b.WriteString("\n\n")
		}
	}
	if c := run.Change; c != (Change{}) {
		fmt.Fprintf(b, " Fine-tuning moved the image tower by %.3g %% of its norm (L2 %.4g, cosine similarity %.6f).\n\n", 100*c.Relative, c.L2, c.Cosine)
	}
	m := run.modelFacts()
	b.WriteString("| model | |\n|---|---|\n")
	for _, s := range m {
		if s.Key == "Seed" || s.Key == "Rule for alpha" {
			continue
		}
		fmt.Fprintf(b, "| %s | %s |\n", mdText(s.Key), mdText(s.Value))
	}
	b.WriteString("\n| machine | |\n|---|---|\n")
	for _, s := range run.machineFacts() {
		fmt.Fprintf(b, "| %s | %s |\n", mdText(s.Key), mdText(s.Value))
	}
	b.WriteString("\n")
}

func (run *Run) cardData(b *strings.Builder) {
	rows := run.dataRows()
	if len(rows) == 0 {
		return
	}
	b.WriteString("## Data\n\n| task | classes | train | validation | test | source | licence |\n|---|---:|---:|---:|---:|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", mdText(r.Name), r.Classes, r.Train, r.Validation, r.Test, mdText(r.Source), mdText(r.License))
	}
	b.WriteString("\n")
	var any bool
	for _, r := range rows {
		if r.Split != "" {
			fmt.Fprintf(b, "- %s, validation: %s\n", mdText(r.Name), mdText(r.Split))
			any = true
		}
	}
	if any {
		b.WriteString("\n")
	}
	any = false
	for _, r := range rows {
		for _, c := range r.Checksums {
			if !any {
				b.WriteString("| file | sha256 |\n|---|---|\n")
				any = true
			}
			fmt.Fprintf(b, "| %s | %s |\n", mdText(r.Name+": "+c.Key), mdCode(strings.TrimPrefix(c.Value, "sha256:")))
		}
	}
	if any {
		b.WriteString("\n")
	}
}

func (run *Run) cardLoading(b *strings.Builder) {
	b.WriteString("## Loading it\n\nThe complete model is in `patched/`, in the layout of the original.\n\n")
	labels, template := run.example()
	if run.Model.Layout == "hf" {
		b.WriteString("With transformers:\n\n")
		b.WriteString(mdFence("python", fmt.Sprintf(`from PIL import Image
from transformers import CLIPModel, CLIPProcessor

model = CLIPModel.from_pretrained("patched").eval()
processor = CLIPProcessor.from_pretrained("patched")
labels = %s
inputs = processor(text=[%s.format(c) for c in labels], images=Image.open("image.png"),
                   return_tensors="pt", padding=True)
print(dict(zip(labels, model(**inputs).logits_per_image.softmax(dim=-1)[0].tolist())))`, pyList(labels), pyText(template))))
	} else {
		b.WriteString("With OpenCLIP:\n\n")
		b.WriteString(mdFence("python", fmt.Sprintf(`import open_clip
import torch
from PIL import Image

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:patched")
tokenizer = open_clip.get_tokenizer("local-dir:patched")
model.eval()
labels = %s
with torch.no_grad():
    image = model.encode_image(preprocess(Image.open("image.png")).unsqueeze(0), normalize=True)
    text = model.encode_text(tokenizer([%s.format(c) for c in labels]), normalize=True)
    print(dict(zip(labels, (model.logit_scale.exp() * image @ text.T).softmax(dim=-1)[0].tolist())))`, pyList(labels), pyText(template))))
	}
	b.WriteString("\nWith paint:\n\n")
	command := fmt.Sprintf("paint classify --model patched --labels %s --template %s image.png", shellText(strings.Join(labels, ",")), shellText(template))
	if len(run.Patching) > 0 {
		command += fmt.Sprintf("\npaint eval --model patched --task %s --split test", shellText(strings.Join(run.Patching, ",")))
	}
	b.WriteString(mdFence("sh", command) + "\n")
}

// example is a handful of labels and a template for the snippets, from the first patching task.
func (run *Run) example() (labels []string, template string) {
	labels, template = []string{"a cat", "a dog"}, "a photo of {}."
	if len(run.Patching) == 0 {
		return labels, template
	}
	t := run.Tasks[run.Patching[0]]
	var plain []string // a comma would split in two on the command line
	for _, c := range t.Classes {
		if !strings.Contains(c, ",") && len(plain) < 5 {
			plain = append(plain, c)
		}
	}
	if len(plain) > 1 {
		labels = plain
		if len(t.Templates) > 0 && strings.Count(t.Templates[0], "{}") == 1 && strings.Count(t.Templates[0], "{") == 1 && strings.Count(t.Templates[0], "}") == 1 {
			template = t.Templates[0]
		}
	}
	return labels, template
}

func (run *Run) cardLimits(b *strings.Builder, s summary) {
	b.WriteString("## Use and limits\n\n")
	fmt.Fprintf(b, "It is meant for zero-shot image classification, and for image and text features, where the original was used and %s matters too."+
		" What holds for the original (its licence, its biases, what it must not be used for) holds for this model.\n\n", mdText(list(run.Patching, 4)))
	if zs, ok := s.line("zero_shot"); ok {
		if pt, ok := s.line("patched"); ok && zs.Supported.OK && pt.Supported.OK {
			fmt.Fprintf(b, "- Supported tasks went from %s to %s %% on average (%s split). Single tasks may have lost more: see the table.\n",
				zs.Supported.num(), pt.Supported.num(), s.Split)
		}
	}
	if len(run.Support) > 0 {
		fmt.Fprintf(b, "- Only %s were measured. Accuracy on other tasks may have changed in either direction.\n", countTasks(len(run.Support)+len(run.Patching)))
	} else {
		b.WriteString("- No supported task was measured: what the patch costs elsewhere is unknown.\n")
	}
	b.WriteString("- The intervals cover the sampling of test images, not the randomness of training: this is one run with one seed.\n\n")
}

func countTasks(n int) string {
	if n == 1 {
		return "this one task"
	}
	return fmt.Sprintf("these %d tasks", n)
}

// markdown writes the grid as a table.
func (g grid) markdown(b *strings.Builder) {
	render := func(c cell) string {
		if c.num == "" {
			return mdText(c.text)
		}
		if c.ci == "" {
			return c.num
		}
		return c.num + " " + c.ci
	}
	rule := make([]string, len(g.head))
	for i, c := range g.head {
		rule[i] = "---"
		if c.right {
			rule[i] = "---:"
		}
	}
	for i, row := range append([][]cell{g.head}, g.rows...) {
		cells := make([]string, len(row))
		for j, c := range row {
			cells[j] = render(c)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|%s|\n", strings.Join(rule, "|"))
		}
	}
}

var mdEscapes = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"\r\n", " ", "\n", " ", "\r", " ", "~", `\~`, "$", `\$`, "!", `\!`)

// mdText makes a string from outside plain text within a line or a table cell of Markdown. An underscore within a word
// needs no escape on GitHub and the Hub; at the edge of a word it does.
func mdText(s string) string {
	s = mdEscapes.Replace(clean(strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ").Replace(s)))
	fields := strings.Split(s, " ")
	for i, f := range fields {
		if strings.HasPrefix(f, "_") {
			f = `\` + f
		}
		if strings.HasSuffix(f, "_") {
			f = f[:len(f)-1] + `\_`
		}
		fields[i] = f
	}
	s = strings.Join(fields, " ")
	if blockStart.MatchString(s) { // it may begin a line, where these would begin a heading, a list or a rule
		s = `\` + s
	}
	return orderedStart.ReplaceAllString(s, `$1\$2`)
}

var (
	blockStart   = regexp.MustCompile(`^\s*(#|[-+=])`)
	orderedStart = regexp.MustCompile(`^(\d+)([.)]\s)`)
)

// mdCode is a code span that fits a table cell, whatever it holds.
func mdCode(s string) string {
	s = clean(strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ").Replace(s))
	if s == "" {
		return `""`
	}
	if strings.ContainsAny(s, "|`") { // a cell ends at a bar even within a code span
		return mdText(s)
	}
	return "`" + s + "`"
}

// mdFence is a code block whose fence is longer than any run of backticks within.
func mdFence(language, s string) string {
	longest, n := 2, 0
	for _, r := range s {
		if r == '`' {
			n++
			longest = max(longest, n)
		} else {
			n = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	return fence + language + "\n" + strings.TrimRight(s, "\n") + "\n" + fence + "\n"
}

// pyText is a Python string literal: a JSON string is one, but for U+2028 and U+2029, which encoding/json escapes.
func pyText(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always has a JSON form
		return `""`
	}
	return strings.TrimSpace(b.String())
}

func pyList(in []string) string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = pyText(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./,:=-]+$`)

// shellText quotes a word for a POSIX shell where it needs it.
func shellText(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(clean(s), "'", `'\''`) + "'"
}
