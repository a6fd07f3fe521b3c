package export

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/ledger"
)

// sheet takes the rows of a table.
type sheet interface {
	header(names []string) error
	row(values []any) error
	close() error
}

// writeTable writes what row makes of entries.
func writeTable[T any](ctx context.Context, w io.Writer, f Format, entries iter.Seq2[ledger.Indexed, error], row func(ledger.Indexed) (T, bool, error)) (rows int, err error) {
	if f == Parquet {
		return writeParquet(ctx, w, entries, row)
	}
	var out sheet = &csvSheet{w: csv.NewWriter(w)}
	if f == XLSX {
		if out, err = newXLSX(w); err != nil {
			return 0, err
		}
	}
	if err := out.header(columns(reflect.TypeFor[T]())); err != nil {
		return 0, err
	}
	for r, err := range rowsOf(ctx, entries, row) {
		if err != nil {
			return rows, err
		}
		v := reflect.ValueOf(r)
		values := make([]any, v.NumField())
		for i := range values {
			values[i] = v.Field(i).Interface()
		}
		if err := out.row(values); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, out.close()
}

// rowsOf yields the rows that entries give.
func rowsOf[T any](ctx context.Context, entries iter.Seq2[ledger.Indexed, error], row func(ledger.Indexed) (T, bool, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for e, err := range entries {
			var r T
			ok := true
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				r, ok, err = row(e)
			}
			if err != nil {
				yield(r, err)
				return
			}
			if ok && !yield(r, nil) {
				return
			}
		}
	}
}

// columns are the names of a row's fields.
func columns(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("parquet"), ",")
		names = append(names, name)
	}
	return names
}

// parquetGroup is how many rows are held before they are written, as one row group.
const parquetGroup = 10_000

func writeParquet[T any](ctx context.Context, w io.Writer, entries iter.Seq2[ledger.Indexed, error], row func(ledger.Indexed) (T, bool, error)) (rows int, err error) {
	out := parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(parquetGroup), parquet.CreatedBy("aver", "1", ""))
	for r, err := range rowsOf(ctx, entries, row) {
		if err != nil {
			return rows, err
		}
		if _, err := out.Write([]T{r}); err != nil {
			return rows, fmt.Errorf("write Parquet: %w", err)
		}
		rows++
	}
	return rows, out.Close()
}

// formula begins what a spreadsheet would run; some take the full-width forms for the others.
const formula = "=+-@|\t\r\n\uff1d\uff0b\uff0d\uff20"

// guarded puts an apostrophe before text that a spreadsheet would take for a formula (CWE-1236): a cell of our evidence
// may hold whatever a caller sent. Where a cell ends is the spreadsheet's to say: with a semicolon in half of Europe,
// whatever the file means by it. So what follows one is guarded as well.
func guarded(s string) string {
	var b strings.Builder
	begins := true
	for _, r := range s {
		if begins && strings.ContainsRune(formula, r) {
			b.WriteByte('\'')
		}
		b.WriteRune(r)
		begins = strings.ContainsRune(";\t\r\n", r)
	}
	return b.String()
}

// cellText is a value as text.
func cellText(v any) string {
	switch v := v.(type) {
	case time.Time:
		return aver.TimeOf(v).String()
	case uint64:
		return strconv.FormatUint(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case string:
		return guarded(v)
	}
	panic(fmt.Sprintf("export: a column of type %T", v)) // the rows are ours
}

type csvSheet struct{ w *csv.Writer }

func (s *csvSheet) header(names []string) error {
	s.w.UseCRLF = true // RFC 4180
	return s.w.Write(names)
}

func (s *csvSheet) row(values []any) error {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = cellText(v)
	}
	return s.w.Write(texts)
}

func (s *csvSheet) close() error {
	s.w.Flush()
	return s.w.Error()
}

const (
	sheetName = "aver"
	// MaxSheetRows are the rows of one XLSX file, the header not counted: what spreadsheets take.
	MaxSheetRows = 1_048_575
	maxCell      = 32_767 // characters
)

// cut ends the text of a cell that is too long for a spreadsheet.
const cut = "… (cut: the whole text is in the log)"

type xlsxSheet struct {
	file *excelize.File
	out  *excelize.StreamWriter
	w    io.Writer
	next int
}

func newXLSX(w io.Writer) (*xlsxSheet, error) {
	f := excelize.NewFile()
	if err := f.SetSheetName("Sheet1", sheetName); err != nil {
		return nil, fmt.Errorf("write XLSX: %w", err)
	}
	out, err := f.NewStreamWriter(sheetName)
	if err != nil {
		return nil, fmt.Errorf("write XLSX: %w", err)
	}
	return &xlsxSheet{file: f, out: out, w: w, next: 1}, nil
}

func (s *xlsxSheet) header(names []string) error {
	if err := s.out.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return fmt.Errorf("write XLSX: %w", err)
	}
	values := make([]any, len(names))
	for i, n := range names {
		values[i] = n
	}
	return s.write(values)
}

// row writes text as inline strings, which no spreadsheet takes for formulas, and guards them all the same: they are
// saved as CSV and opened again. Numbers are text beyond what a spreadsheet holds exactly.
func (s *xlsxSheet) row(values []any) error {
	if s.next > MaxSheetRows+1 {
		return fmt.Errorf("a spreadsheet has at most %d rows: export a shorter range", MaxSheetRows)
	}
	cells := make([]any, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case uint64:
			cells[i] = v
			if v > 1<<53 {
				cells[i] = strconv.FormatUint(v, 10)
			}
		case bool:
			cells[i] = v
		default:
			t := cellText(v)
			if utf8.RuneCountInString(t) > maxCell/2 { // characters of two UTF-16 units count twice
				t = string([]rune(t)[:maxCell/2-utf8.RuneCountInString(cut)]) + cut
			}
			cells[i] = t
		}
	}
	return s.write(cells)
}

func (s *xlsxSheet) write(cells []any) error {
	at, err := excelize.CoordinatesToCellName(1, s.next)
	if err == nil {
		err = s.out.SetRow(at, cells)
	}
	if err != nil {
		return fmt.Errorf("write XLSX: %w", err)
	}
	s.next++
	return nil
}

func (s *xlsxSheet) close() error {
	defer s.file.Close()
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("write XLSX: %w", err)
	}
	if _, err := s.file.WriteTo(s.w); err != nil {
		return fmt.Errorf("write XLSX: %w", err)
	}
	return nil
}
