package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"

	"github.com/aver-authz/aver/internal/query"
)

// format is the version of what is in a file. An index of another version is
// thrown away and built again.
const format = "1"

// A partition is one SQLite file: the index of a run of entries of the decision
// log. It is an inverted index: for each value of a field, which entries have it.
//
//   - term numbers the values. A value with a type has one more for the type
//     alone (text ""), each field one for having any value (type and text "").
//   - posting has for each term and block the entries, see rows.go.
//   - number has for each named number and block the values by entry.
//   - block has the entries that are decisions, and their times.
//   - evaluation finds entries by evaluation id.
//   - report lists the activities of each decision, asked the approvals that were
//     asked for because of it.
const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE term (field INTEGER, text TEXT, type TEXT, id INTEGER NOT NULL, PRIMARY KEY (field, text, type)) WITHOUT ROWID;
CREATE TABLE posting (term INTEGER, block INTEGER, entries BLOB NOT NULL, PRIMARY KEY (term, block)) WITHOUT ROWID;
CREATE TABLE number (term INTEGER, block INTEGER, entries BLOB NOT NULL, PRIMARY KEY (term, block)) WITHOUT ROWID;
CREATE TABLE block (block INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, entries BLOB NOT NULL, times BLOB NOT NULL);
CREATE TABLE evaluation (id BLOB, entry INTEGER, PRIMARY KEY (id, entry)) WITHOUT ROWID;
CREATE TABLE report (decision INTEGER, entry INTEGER, PRIMARY KEY (decision, entry)) WITHOUT ROWID;
CREATE TABLE asked (decision INTEGER, approval TEXT, PRIMARY KEY (decision, approval)) WITHOUT ROWID;
`

// numberName is the field under which term numbers the names of numbers.
const numberName query.Field = 0

type partition struct {
	first uint64 // index of the first entry
	size  uint64 // how many entries it can hold
	file  string
	db    *sql.DB
	write *writer // of the process that writes the index
	pace  *pace   // of who follows the logs
}

const suffix = ".sqlite"

func fileName(first uint64) string { return fmt.Sprintf("%016d%s", first, suffix) }

// parseFileName reads the name of a partition's file.
func parseFileName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 62)
	return n, err == nil
}

// damagedError says that a partition can't be used: it is to be built again.
type damagedError struct {
	first uint64
	cause error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("index: the partition from entry %d on is damaged: %v; aver index rebuild builds it again", e.first, e.cause)
}

func (e *damagedError) Unwrap() error { return e.cause }

// damaged makes an error of SQLite's that says so a damagedError.
func (p *partition) damaged(err error) error {
	var known *damagedError
	if err == nil || errors.As(err, &known) {
		return err
	}
	var bad *sqlite.Error
	if errors.As(err, &bad) {
		switch bad.Code() & 0xff {
		case 1, 11, 26: // SQLITE_ERROR (such as a missing table), SQLITE_CORRUPT, SQLITE_NOTADB
			return &damagedError{p.first, err}
		}
	}
	if errors.Is(err, errContent) || errors.Is(err, sql.ErrNoRows) || errors.Is(err, fs.ErrNotExist) {
		return &damagedError{p.first, err}
	}
	return fmt.Errorf("index: %s: %w", filepath.Base(p.file), err)
}

// errContent says that what is stored is not in the form in which it is written.
var errContent = errors.New("the content is not in the form of this version")

// pragmas are those of every connection. Nothing is synced; see [begin].
const pragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)&_pragma=cache_size(-%d)" +
	"&_pragma=wal_autocheckpoint(4000)&_pragma=temp_store(memory)&_pragma=trusted_schema(off)"

// A connection takes three files and up to its cache in memory, and there are as many partitions as the log is long: so
// those that nobody uses are closed.
const (
	maxIdle = 2
	idleFor = 2 * time.Second
)

// closeIdle closes the connections that nobody uses at the moment.
func (p *partition) closeIdle() {
	p.db.SetMaxIdleConns(0)
	p.db.SetMaxIdleConns(maxIdle)
}

// openPartition opens a file that is there, or makes it.
func openPartition(ctx context.Context, dir string, first, size uint64, origin string, create bool) (*partition, error) {
	p := &partition{first: first, size: size, file: filepath.Join(dir, fileName(first))}
	if create {
		f, err := os.OpenFile(p.file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // SQLite's other files take its mode
		if err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
	} else if _, err := os.Stat(p.file); err != nil {
		return nil, p.damaged(err)
	}
	var err error
	cache := 8 << 10 // KiB for each connection
	if p.db, err = sql.Open("sqlite", "file:"+uriPath(p.file)+fmt.Sprintf(pragmas, cache)); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	p.db.SetMaxIdleConns(maxIdle)
	p.db.SetConnMaxIdleTime(idleFor)
	if create {
		err = p.create(ctx, origin)
	} else {
		err = p.check(ctx, origin)
	}
	if err != nil {
		p.db.Close()
		return nil, p.damaged(err)
	}
	return p, nil
}

// uriPath escapes what has a meaning in SQLite's URIs.
func uriPath(file string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(file)
}

func (p *partition) create(ctx context.Context, origin string) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"format": format, "origin": origin, "size": strconv.FormatUint(p.size, 10),
		"next": strconv.FormatUint(p.first, 10), "authority": "0",
	} {
		if _, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES (?, ?)", name, value); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// check refuses a file of another version, log or size.
func (p *partition) check(ctx context.Context, origin string) error {
	for name, want := range map[string]string{"format": format, "origin": origin, "size": strconv.FormatUint(p.size, 10)} {
		var got string
		if err := p.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", name).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%w: %s is %q, not %q", errContent, name, got, want)
		}
	}
	return nil
}

// cursor reads how far the partition goes, in both logs. The second counts in
// the newest partition only.
func (p *partition) cursor(ctx context.Context) (next, authority uint64, err error) {
	for name, into := range map[string]*uint64{"next": &next, "authority": &authority} {
		if err := p.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = ?", name).Scan(into); err != nil {
			return 0, 0, p.damaged(err)
		}
	}
	return next, authority, nil
}

func (p *partition) close() error {
	var err error
	if p.write != nil {
		err = p.write.close()
	}
	return errors.Join(err, p.db.Close())
}

// removePartition deletes a partition's files.
func removePartition(dir string, first uint64) error {
	file := filepath.Join(dir, fileName(first))
	var errs []error
	for _, name := range []string{file, file + "-wal", file + "-shm"} { // the database first: without it the others are nothing
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
