package gaps

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/aver-authz/aver"
)

// Thresholds say what is taken for a control gap. thresholds.yaml holds the
// defaults, and describes each member.
type Thresholds struct {
	Window     Duration            `yaml:"window"`
	Accept     Duration            `yaml:"accept"`
	Machines   MachineThresholds   `yaml:"machines"`
	Excess     ExcessThresholds    `yaml:"excess"`
	Delegation DelegationThreshold `yaml:"delegation"`
	Activities ActivityThresholds  `yaml:"activities"`
	Exceptions ExceptionThresholds `yaml:"exceptions"`
	Proofs     int                 `yaml:"proofs"`
	Workflows  []Workflow          `yaml:"workflows"`

	digest string
}

// MachineThresholds are those of I1.
type MachineThresholds struct {
	SharedWithin Duration `yaml:"shared_within"`
	RotateEvery  Duration `yaml:"rotate_every"`
	Workload     []string `yaml:"workload"`    // paths in a request
	Environment  []string `yaml:"environment"` // paths
	Session      []string `yaml:"session"`     // paths
	Credential   []string `yaml:"credential"`  // paths
	Methods      []string `yaml:"methods"`     // paths
	HumanMethods []string `yaml:"human_methods"`
}

// ExcessThresholds are those of I2.
type ExcessThresholds struct {
	Idle           Duration   `yaml:"idle"`
	IdleLong       Duration   `yaml:"idle_long"`
	PrivilegedIdle Duration   `yaml:"privileged_idle"`
	Observed       Duration   `yaml:"observed"`
	WildcardUsed   int        `yaml:"wildcard_used_percent"`
	WildcardKnown  int        `yaml:"wildcard_known"`
	LimitUsed      int64      `yaml:"limit_used_percent"`
	Privileged     []string   `yaml:"privileged"` // actions
	Conflicts      []Conflict `yaml:"conflicts"`
}

// Conflict names duties that nobody should hold together: lists of actions, of
// which no two should meet.
type Conflict struct {
	Name   string     `yaml:"name"`
	Duties [][]string `yaml:"duties"`
}

// DelegationThreshold is that of I3.
type DelegationThreshold struct {
	BeyondAttempts uint64 `yaml:"beyond_attempts"`
}

// ActivityThresholds are those of I4.
type ActivityThresholds struct {
	OutcomeWithin Duration `yaml:"outcome_within"`
	SilentPermits uint64   `yaml:"silent_permits"`
	SilentAfter   Duration `yaml:"silent_after"`
}

// ExceptionThresholds are those of I5.
type ExceptionThresholds struct {
	Justification   int                             `yaml:"justification"`
	Longest         map[aver.ExceptionKind]Duration `yaml:"longest"`
	ApproveWithin   Duration                        `yaml:"approve_within"`
	Instant         Duration                        `yaml:"instant"`
	AttemptsAfter   Duration                        `yaml:"attempts_after"`
	OutsideAttempts uint64                          `yaml:"outside_attempts"`
	Repeated        int                             `yaml:"repeated"`
	RepeatedWithin  Duration                        `yaml:"repeated_within"`
	Renewed         int                             `yaml:"renewed"`
	RenewedGap      Duration                        `yaml:"renewed_gap"`
}

// Workflow says what belongs to a business workflow: decisions about one of the
// actions, or by an actor of one of the kinds.
type Workflow struct {
	Name    string      `yaml:"name"`
	Actions []string    `yaml:"actions"`
	Kinds   []aver.Kind `yaml:"kinds"`
}

// Has tells whether a decision belongs to the workflow.
func (w *Workflow) Has(action string, actor aver.Kind) bool {
	return slices.Contains(w.Kinds, actor) || aver.Covers(w.Actions, action)
}

// Duration is a length of time in milliseconds.
type Duration int64

// UnmarshalYAML reads 30s, 10m, 24h and 90d.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	var text string
	if err := n.Decode(&text); err != nil {
		return err
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		count, err := strconv.ParseInt(days, 10, 32)
		if err != nil || count < 1 {
			return fmt.Errorf("line %d: %q is not a duration such as 10m, 24h or 90d", n.Line, text)
		}
		*d = Duration(count * (24 * time.Hour).Milliseconds())
		return nil
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < time.Millisecond {
		return fmt.Errorf("line %d: %q is not a duration such as 10m, 24h or 90d", n.Line, text)
	}
	*d = Duration(length.Milliseconds())
	return nil
}

// String writes whole days as days.
func (d Duration) String() string {
	const day = Duration(24 * 60 * 60 * 1000)
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	text := (time.Duration(d) * time.Millisecond).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

//go:embed thresholds.yaml
var defaults []byte

// DefaultFile is thresholds.yaml as it ships.
func DefaultFile() []byte { return bytes.Clone(defaults) }

// Defaults are the thresholds that ship with Aver.
func Defaults() *Thresholds {
	t := &Thresholds{}
	if err := t.read(defaults); err != nil {
		panic(err) // a test reads them
	}
	return t
}

// maxThresholds bounds a file of thresholds, in bytes.
const maxThresholds = 1 << 20

// ReadThresholds reads a file that replaces some of the defaults.
func ReadThresholds(file string) (*Thresholds, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("thresholds: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxThresholds+1))
	if err == nil && len(text) > maxThresholds {
		err = fmt.Errorf("longer than %d bytes", maxThresholds)
	}
	var t *Thresholds
	if err == nil {
		t, err = ParseThresholds(text)
	}
	if err != nil {
		return nil, fmt.Errorf("thresholds: %s: %w", file, err)
	}
	return t, nil
}

// ThresholdsOf reads a file that replaces some of the defaults, or, if none is
// named, gaps.yaml in the data directory, if it is there.
func ThresholdsOf(file, dataDir string) (*Thresholds, error) {
	if file != "" {
		return ReadThresholds(file)
	}
	t, err := ReadThresholds(filepath.Join(dataDir, "gaps.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return Defaults(), nil
	}
	return t, err
}

// ParseThresholds reads what replaces some of the defaults. Unknown members are
// an error.
func ParseThresholds(text []byte) (*Thresholds, error) {
	t := Defaults()
	if err := t.read(text); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Thresholds) read(text []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(t); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	t.digest = aver.Digest([]byte(t.digest + string(text)))
	return t.validate()
}

// Digest commits to the texts that the thresholds were read from.
func (t *Thresholds) Digest() string { return t.digest }

// Bounds of lists in the thresholds.
const (
	maxPaths     = 20
	maxActions   = 500
	maxConflicts = 50
	maxWorkflows = 100
	maxProofs    = 1000
)

func (t *Thresholds) validate() error {
	m, x, e := &t.Machines, &t.Excess, &t.Exceptions
	for name, d := range map[string]Duration{
		"window": t.Window, "accept": t.Accept, "machines.shared_within": m.SharedWithin, "machines.rotate_every": m.RotateEvery,
		"excess.idle": x.Idle, "excess.idle_long": x.IdleLong, "excess.privileged_idle": x.PrivilegedIdle, "excess.observed": x.Observed,
		"activities.outcome_within": t.Activities.OutcomeWithin, "activities.silent_after": t.Activities.SilentAfter,
		"exceptions.approve_within": e.ApproveWithin, "exceptions.instant": e.Instant, "exceptions.attempts_after": e.AttemptsAfter,
		"exceptions.repeated_within": e.RepeatedWithin, "exceptions.renewed_gap": e.RenewedGap,
	} {
		if d <= 0 {
			return fmt.Errorf("%s: a duration is missing", name)
		}
	}
	if x.IdleLong < x.Idle {
		return errors.New("excess.idle_long is shorter than excess.idle")
	}
	for name, n := range map[string]int64{"excess.wildcard_used_percent": int64(x.WildcardUsed), "excess.limit_used_percent": x.LimitUsed} {
		if n < 1 || n > 100 {
			return fmt.Errorf("%s: from 1 to 100", name)
		}
	}
	for name, n := range map[string]int64{
		"excess.wildcard_known": int64(x.WildcardKnown), "delegation.beyond_attempts": int64(t.Delegation.BeyondAttempts),
		"activities.silent_permits": int64(t.Activities.SilentPermits), "exceptions.outside_attempts": int64(e.OutsideAttempts),
		"exceptions.repeated": int64(e.Repeated) - 1, "exceptions.renewed": int64(e.Renewed) - 1,
	} {
		if n < 1 {
			return fmt.Errorf("%s: the number is too small", name)
		}
	}
	if t.Proofs < 0 || t.Proofs > maxProofs || e.Justification < 0 || e.Justification > 4096 {
		return fmt.Errorf("proofs: from 0 to %d; exceptions.justification: from 0 to 4096", maxProofs)
	}
	for name, paths := range map[string][]string{
		"workload": m.Workload, "environment": m.Environment, "session": m.Session, "credential": m.Credential, "methods": m.Methods,
	} {
		if err := checkPaths(paths); err != nil {
			return fmt.Errorf("machines.%s: %w", name, err)
		}
	}
	for _, kind := range aver.ExceptionKinds() {
		if e.Longest[kind] <= 0 {
			return fmt.Errorf("exceptions.longest: %s is missing", kind)
		}
	}
	if len(e.Longest) > len(aver.ExceptionKinds()) {
		return fmt.Errorf("exceptions.longest: the kinds are %q", aver.ExceptionKinds())
	}
	if err := checkActions(x.Privileged); err != nil {
		return fmt.Errorf("excess.privileged: %w", err)
	}
	return t.validateLists()
}

func (t *Thresholds) validateLists() error {
	if len(t.Excess.Conflicts) > maxConflicts || len(t.Workflows) > maxWorkflows {
		return fmt.Errorf("at most %d conflicts and %d workflows", maxConflicts, maxWorkflows)
	}
	names := map[string]bool{}
	for _, c := range t.Excess.Conflicts {
		if c.Name == "" || names[c.Name] || len(c.Duties) < 2 || len(c.Duties) > 8 {
			return errors.New("excess.conflicts: each has a name of its own and two to eight duties")
		}
		names[c.Name] = true
		for _, duty := range c.Duties {
			if err := checkActions(duty); err != nil || len(duty) == 0 {
				return fmt.Errorf("excess.conflicts: %s: a duty is a list of actions: %v", c.Name, err)
			}
		}
	}
	workflows := map[string]bool{}
	for _, w := range t.Workflows {
		if w.Name == "" || workflows[w.Name] || len(w.Actions)+len(w.Kinds) == 0 {
			return errors.New("workflows: each has a name of its own, and actions or kinds")
		}
		workflows[w.Name] = true
		if err := checkActions(w.Actions); err != nil {
			return fmt.Errorf("workflows: %s: %w", w.Name, err)
		}
	}
	return nil
}

func checkPaths(paths []string) error {
	if len(paths) > maxPaths {
		return fmt.Errorf("more than %d paths", maxPaths)
	}
	for _, p := range paths {
		root, rest, _ := strings.Cut(p, ".")
		if rest == "" || root != "context" && root != "subject" && root != "resource" && root != "action" {
			return fmt.Errorf("%q is not a path such as context.environment or subject.workload", p)
		}
	}
	return nil
}

func checkActions(actions []string) error {
	if len(actions) > maxActions {
		return fmt.Errorf("more than %d actions", maxActions)
	}
	for _, a := range actions {
		if a == "" || strings.Contains(strings.TrimSuffix(a, "*"), "*") {
			return fmt.Errorf("action %q: a name, or a beginning followed by one *", a)
		}
	}
	return nil
}
