package export_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/internal/report/export"
)

func write(t *testing.T, s *export.Source, f export.Format, table export.Table) ([]byte, int) {
	t.Helper()
	var out bytes.Buffer
	n, err := s.Write(context.Background(), &out, f, table, 0, map[bool]uint64{true: size(s.Authority), false: size(s.Decisions)}[table == export.Events])
	must(t, err)
	return out.Bytes(), n
}

// schema compiles one of testdata, or the published one that a variable of the environment names.
func schema(t *testing.T, file, variable string) *jsonschema.Schema {
	t.Helper()
	if published := os.Getenv(variable); published != "" {
		file = published
	}
	s, err := jsonschema.NewCompiler().Compile(file)
	must(t, err)
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text []byte) map[string]any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(t, err)
	if err := s.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	return v.(map[string]any)
}

// Every decision, activity, event and finding is a valid OCSF event of its class.
func TestOCSF(t *testing.T) {
	svc := start(t)
	svc.some()
	s := svc.source()
	s.Findings = func(context.Context) ([]aver.GapFinding, error) { return findings(), nil }
	compiled := schema(t, "testdata/ocsf-1.8.schema.json", "AVER_OCSF_SCHEMA")
	classes := map[string]int{}
	dispositions := map[string]string{}
	for _, table := range export.OCSF.Tables() {
		text, n := write(t, s, export.OCSF, table)
		lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
		if len(lines) != n {
			t.Errorf("%s: %d lines, %d rows", table, len(lines), n)
		}
		for _, line := range lines {
			e := validate(t, compiled, line)
			classes[fmt.Sprint(e["class_uid"])]++
			if fmt.Sprint(e["type_uid"]) != fmt.Sprint(num(e["class_uid"])*100+num(e["activity_id"])) {
				t.Errorf("type_uid of %s", line)
			}
			if d, ok := e["disposition"].(string); ok {
				dispositions[e["unmapped"].(map[string]any)["aver"].(map[string]any)["outcome"].(string)] = e["action"].(string) + "/" + d
			}
			if bytes.Contains(line, []byte(iban)) {
				t.Errorf("a sensitive value is not withheld: %s", line)
			}
		}
	}
	if classes["6003"] != int(size(s.Decisions)) || classes["3004"] != int(size(s.Authority)) || classes["2008"] != 3 {
		t.Errorf("%v", classes)
	}
	for outcome, want := range map[string]string{"permitted": "Allowed/Allowed", "denied": "Denied/Blocked", "escalated": "Denied/escalated"} {
		if dispositions[outcome] != want {
			t.Errorf("%s is %q, want %q", outcome, dispositions[outcome], want)
		}
	}
}

func num(v any) int64 {
	n, _ := v.(json.Number).Int64()
	return n
}

// findings are one of each state.
func findings() []aver.GapFinding {
	f := aver.GapFinding{
		ID: "I1-no-rotation-0d1e2f3a4b5c", Gap: "I1", Rule: "no-rotation", Severity: aver.SeverityHigh, Subject: aver.GapSubject{Kind: "credential", ID: "gateway"},
		Text: "The credential gateway was not rotated for 120 days.", Details: []string{"issued 2026-07-01"}, Count: 1,
		FirstSeen: 1_790_000_000_000, LastSeen: 1_790_000_100_000, State: aver.GapOpen,
	}
	accepted, closed := f, f
	accepted.ID, accepted.State, accepted.Answer = "I1-a", aver.GapAccepted, &aver.GapAnswer{State: aver.GapAccepted, By: "lena", Reason: "r", Until: 1_800_000_000_000}
	closed.ID, closed.State, closed.Answer = "I1-b", aver.GapClosed, &aver.GapAnswer{State: aver.GapClosed, By: "lena", Reason: "r"}
	closed.Subject = aver.GapSubject{Kind: "identity", ID: `ai_agent::"bot"`, Ref: aver.Ref{Type: "ai_agent", ID: "bot"}}
	return []aver.GapFinding{f, accepted, closed}
}

func TestOSCAL(t *testing.T) {
	svc := start(t)
	svc.some()
	s := svc.source()
	s.Findings = func(context.Context) ([]aver.GapFinding, error) { return findings(), nil }
	compiled := schema(t, "testdata/oscal-1.1.2.schema.json", "AVER_OSCAL_SCHEMA")
	text, _ := write(t, s, export.OSCAL, export.Results)
	validate(t, compiled, text)
	for _, want := range []string{`"control-id": "PCI-DSS-8.2.2"`, `"control-id": "SOX-404"`, `"outcome-escalated"`, `"not-satisfied"`, `"finding-no_decision"`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if again, _ := write(t, s, export.OSCAL, export.Results); !bytes.Equal(again, text) {
		t.Error("the same evidence gives another file")
	}
	var empty bytes.Buffer
	s.Findings = nil
	_, err := s.Write(context.Background(), &empty, export.OSCAL, export.Results, size(s.Decisions), size(s.Decisions))
	must(t, err)
	validate(t, compiled, empty.Bytes())
}

// The schemas of ours find what they are there for.
func TestSchemasRefuse(t *testing.T) {
	svc := start(t)
	svc.some()
	s := svc.source()
	ocsf := schema(t, "testdata/ocsf-1.8.schema.json", "AVER_OCSF_SCHEMA")
	text, _ := write(t, s, export.OCSF, export.Decisions)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	for _, edit := range []func(map[string]any){
		func(e map[string]any) { delete(e, "src_endpoint") },
		func(e map[string]any) { delete(e["metadata"].(map[string]any), "product") },
		func(e map[string]any) { e["disposition_id"] = 55 },
		func(e map[string]any) { e["colour"] = "red" },
		func(e map[string]any) { e["actor"] = map[string]any{} },
	} {
		var e map[string]any
		must(t, json.Unmarshal(line, &e))
		edit(e)
		if err := ocsf.Validate(e); err == nil {
			t.Errorf("valid: %v", e)
		}
	}
}

// CSV and Parquet have the same rows, and what was withheld is a digest in both, unless it is asked for (D3).
func TestTablesAgree(t *testing.T) {
	svc := start(t)
	svc.some()
	s := svc.source()
	for _, table := range export.CSV.Tables() {
		text, n := write(t, s, export.CSV, table)
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		must(t, err)
		if len(rows) != n+1 || n == 0 {
			t.Errorf("%s: %d rows in CSV, %d written", table, len(rows)-1, n)
		}
		columnar, m := write(t, s, export.Parquet, table)
		file, err := parquet.OpenFile(bytes.NewReader(columnar), int64(len(columnar)))
		must(t, err)
		if file.NumRows() != int64(n) || m != n {
			t.Errorf("%s: %d rows in Parquet, %d in CSV", table, file.NumRows(), n)
		}
		var names []string
		for _, f := range file.Schema().Fields() {
			names = append(names, f.Name())
		}
		if !slices.Equal(names, rows[0]) {
			t.Errorf("%s: columns %v in Parquet, %v in CSV", table, names, rows[0])
		}
	}
	columnar, _ := write(t, s, export.Parquet, export.Decisions)
	decisions, err := parquet.Read[export.Decision](bytes.NewReader(columnar), int64(len(columnar)))
	must(t, err)
	i := slices.IndexFunc(decisions, func(d export.Decision) bool { return d.ResourceID == "p-3" })
	if d := decisions[i]; d.Outcome != "escalated" || d.Allowed || d.ActorID != "ann" || d.Action != "payment.approve" || d.Tool != "erp" || d.Time.IsZero() ||
		!strings.Contains(d.Policies, "payments/large") || !strings.Contains(d.Request, "_sd") || strings.Contains(d.Request, iban) {
		t.Errorf("%+v", d)
	}
	s.Disclose = true
	text, _ := write(t, s, export.CSV, export.Decisions)
	if !bytes.Contains(text, []byte(iban)) {
		t.Error("what was asked for is not disclosed")
	}
}

// What a caller sent never becomes a formula (CWE-1236).
func TestFormulasAreGuarded(t *testing.T) {
	svc := start(t)
	svc.some()
	s := svc.source()
	text, _ := write(t, s, export.CSV, export.Decisions)
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	must(t, err)
	seen := map[string]bool{}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r|", rune(cell[0])) {
				t.Errorf("a spreadsheet would run %q", cell)
			}
			seen[cell] = true
		}
	}
	for _, want := range []string{"'=cmd|' /C calc'!A0", "'@SUM(1)", "'-2+3"} {
		if !seen[want] {
			t.Errorf("%q is not there", want)
		}
	}
}

// The XLSX is read back as what it is, a ZIP of XML: the same cells, all of them text, numbers or booleans.
func TestXLSX(t *testing.T) {
	svc := start(t)
	svc.some()
	s := svc.source()
	for _, table := range export.XLSX.Tables() {
		text, n := write(t, s, export.XLSX, table)
		cells := readXLSX(t, text)
		plain, _ := write(t, s, export.CSV, table)
		rows, err := csv.NewReader(bytes.NewReader(plain)).ReadAll()
		must(t, err)
		if len(cells) != n+1 || len(cells) != len(rows) {
			t.Fatalf("%s: %d rows, want %d", table, len(cells), len(rows))
		}
		for i := range rows {
			for k, want := range rows[i] {
				got := ""
				if k < len(cells[i]) {
					got = cells[i][k]
				}
				if want = strings.NewReplacer("true", "1", "false", "0").Replace(want); len(want) < 100 && strings.NewReplacer("true", "1", "false", "0").Replace(got) != want {
					t.Errorf("%s, row %d, %s: %q, want %q", table, i, rows[0][k], got, want)
				}
			}
		}
	}
}

func readXLSX(t *testing.T, text []byte) (rows [][]string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	must(t, err)
	f, err := z.Open("xl/worksheets/sheet1.xml")
	must(t, err)
	body, err := io.ReadAll(f)
	must(t, err)
	if bytes.Contains(body, []byte("<f>")) {
		t.Error("there is a formula")
	}
	var sheet struct {
		Rows []struct {
			Cells []struct {
				Ref    string `xml:"r,attr"`
				Value  string `xml:"v"`
				Inline string `xml:"is>t"`
			} `xml:"c"`
		} `xml:"sheetData>row"`
	}
	must(t, xml.Unmarshal(body, &sheet))
	for _, r := range sheet.Rows {
		var row []string
		for _, c := range r.Cells {
			row = append(row, c.Value+c.Inline)
		}
		rows = append(rows, row)
	}
	return rows
}

func TestParseFormats(t *testing.T) {
	for _, c := range [][3]string{{"csv", "", "decisions"}, {"ocsf", "findings", "findings"}, {"oscal", "", "results"}} {
		if _, table, err := export.Parse(c[0], c[1]); err != nil || string(table) != c[2] {
			t.Errorf("%v: %s %v", c, table, err)
		}
	}
	for _, c := range [][2]string{{"pdf", ""}, {"csv", "findings"}, {"", ""}} {
		if _, _, err := export.Parse(c[0], c[1]); err == nil {
			t.Errorf("%v", c)
		}
	}
}
