// Package evidence opens evidence packs of Aver and verifies them offline
// (requirements K1 and G4): with nothing but the pack, and the keys that the
// reader has from somebody they believe.
//
// A pack is a set of files: entries of both logs as they were logged, inclusion
// proofs, signed checkpoints, the policies in full, reports, and a manifest that
// is signed with the decision log's key. It comes as a ZIP file, or as one HTML
// page that holds the same ZIP and checks it by itself. docs/packs.md is the
// format.
//
// [Pack.Verify] gives two verdicts, never one. Integrity: everything in the pack
// is consistent with the keys it names. Trust: these are the keys that the
// reader expected, and the named witnesses have cosigned. The second needs
// something that the reader brought. What was withheld, or can't be known from
// the pack, is unknown, and never passed.
//
// The package does not decide anything again; aver verify and the HTML page do.
package evidence

// Format names the layout of packs that this version writes and reads.
const Format = "aver-pack/1"

// The names of files and directories in a pack. An entry's directory is that of its log, a slash, and its index in ten
// digits or more: [EntryDir].
const (
	ManifestFile    = "manifest.json"      // a DSSE envelope of an in-toto Statement; lists all other files
	CheckpointFile  = "checkpoint"         // in the directory of a log: C2SP tlog-checkpoint, with cosignatures
	LeafFile        = "leaf.json"          // in the directory of an entry: the canonical leaf
	ProofFile       = "proof"              // there: C2SP tlog-proof
	PayloadFile     = "payload.json"       // there: the canonical payload; not there if it is withheld or gone
	DisclosuresFile = "disclosures.json"   // there: of a decision with sensitive values, those that are disclosed
	ConsistencyFile = "consistency.json"   // from each head of the authority log that is cited to its checkpoint
	FramesFile      = "frames.ndjson"      // what Cedar was asked, as aver replay --frames writes it
	WhyDir          = "reports/why"        // an explanation of each decision, EVALUATION_ID.txt
	PopulationFile  = "population.json"    // the statement of the population that the decisions were drawn from; optional
	ReadmeFile      = "README.txt"         // how to check the pack
	AuthorityLog    = LogName("authority") // changes of what may be done
	DecisionLog     = LogName("decisions") // decisions and activities
	StatementType   = "https://in-toto.io/Statement/v1"
	PayloadType     = "application/vnd.in-toto+json"
	PredicateType   = "https://github.com/aver-authz/aver/evidence-pack/v1"
	PageDataType    = "application/vnd.aver.pack" // type attribute of the HTML page's element that holds the ZIP
)

// LogName names one of the two logs. It is the log's directory in a pack.
type LogName string

// Limits on what [Open] reads. A pack beyond them is refused.
const (
	MaxFile     = 512 << 20 // bytes of the file that is opened
	MaxContent  = 1 << 30   // bytes of all files in the pack, unpacked
	MaxFiles    = 200_000   // files in the pack
	MaxManifest = 64 << 20  // bytes of the manifest
)
