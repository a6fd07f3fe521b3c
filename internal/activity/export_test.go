package activity

import "fmt"

// FillListeners makes the tracker remember so many credentials that one more is
// the last that it can.
func (t *Tracker) FillListeners() {
	names := map[string]bool{}
	for i := range maxListeners - 1 {
		names[fmt.Sprint("other-", i)] = true
	}
	t.listeners.names.Store(&names)
}
