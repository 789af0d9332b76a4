package experiment

// Progress is told how a job goes on. Calls come one at a time, though not always from one goroutine.
type Progress interface {
	// Stage begins a stage of total units, counted in unit ("images", "steps"), and ends the one before it.
	Stage(name, unit string, total int)
	// Update says how many units are done; note is a short remark on the last one, or empty.
	Update(done int, note string)
	// Note is one line for the person who waits.
	Note(line string)
}

// Silent is a Progress that says nothing.
type Silent struct{}

// Stage does nothing.
func (Silent) Stage(string, string, int) {}

// Update does nothing.
func (Silent) Update(int, string) {}

// Note does nothing.
func (Silent) Note(string) {}
