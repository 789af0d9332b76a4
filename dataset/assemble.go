package dataset

import "fmt"

// parts are the parts that a data set comes with, nil where it has none, and what the data call them.
type parts struct {
	train, validation, test Part
	validationName          string
}

func (p *parts) set(split, name string, part Part) {
	switch split {
	case "train":
		p.train = part
	case "validation":
		p.validation, p.validationName = part, name
	case "test":
		p.test = part
	}
}

// assemble sets the parts of t, making those that the data lack, as OpenFolder documents.
func (t *Task) assemble(p parts) error {
	t.Train, t.Validation, t.Test = p.train, p.validation, p.test
	t.Split = "as the data have it"
	if p.train == nil || p.test != nil && p.validation != nil {
		return nil
	}
	switch {
	case p.test == nil && p.validation != nil:
		t.Test, t.Validation = p.validation, nil
		t.Split = fmt.Sprintf("test is the part %q; validation: ", p.validationName)
	case p.test == nil:
		t.Train, t.Test = SplitValidation(p.train, ValidationFraction, ValidationMax, 0)
		t.Split = fmt.Sprintf("test: %d of %d examples, split off by seed 0; validation: ", t.Test.Len(), p.train.Len())
	default:
		t.Split = "validation: "
	}
	n := t.Train.Len()
	fraction, most := ValidationFraction, ValidationMax
	if p.test == nil && p.validation == nil {
		fraction, most = 0.5, t.Test.Len() // as many as test
	}
	t.Train, t.Validation = SplitValidation(t.Train, fraction, most, 0)
	t.Split += fmt.Sprintf("%d of %d training examples, split off by seed 0", t.Validation.Len(), n)
	if t.Train.Len() == 0 || t.Validation.Len() == 0 || t.Test.Len() == 0 {
		return fmt.Errorf("%d examples are too few: the parts would have %d, %d and %d (train, validation, test)",
			p.train.Len(), t.Train.Len(), t.Validation.Len(), t.Test.Len())
	}
	return nil
}
