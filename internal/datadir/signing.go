package datadir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aver-authz/aver/internal/ledger"
)

// DecisionKey reads the secret key of the decision log, for what is signed
// besides checkpoints. It is not there in a copy that was made for auditors.
func DecisionKey(dir string) (ledger.Key, error) {
	file := filepath.Join(dir, "keys", decisionsName+".key")
	text, err := os.ReadFile(file)
	if err != nil {
		return ledger.Key{}, err
	}
	key, err := ledger.ParseKey(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return ledger.Key{}, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}
