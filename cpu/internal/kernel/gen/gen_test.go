package main

import "testing"

// TestUpToDate fails where the checked-in assembly is not what the generator writes.
func TestUpToDate(t *testing.T) {
	if err := run("..", true); err != nil {
		t.Fatal(err)
	}
}
