package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aver-authz/aver/client"
	"github.com/aver-authz/aver/internal/datadir"
	"github.com/aver-authz/aver/internal/index"
	"github.com/aver-authz/aver/internal/query"
)

func (c *cli) search() *cobra.Command {
	var s client.DecisionSearch
	var count bool
	var by string
	fields := make([]string, 0, 40)
	for _, f := range query.Fields() {
		fields = append(fields, fmt.Sprintf("  %-12s %s", f.Name, f.About))
	}
	cmd := &cobra.Command{
		Use:   "search [QUERY]",
		Short: "Find decisions",
		Long: `Finds the decisions that match a query, the newest first, or counts them. All terms of a query must hold;
OR, NOT or - and parentheses combine them. A star stands for any text, quotes keep spaces, words alone are
looked for in the reasons. docs/search.md describes the language. The fields:

` + strings.Join(fields, "\n") + `

Attributes of the request are named as in resource.amount:>100000 or context.region:EU, as far as records
keep them. A query that begins with - comes after --.

With --data the index in DIR is brought up to the logs first, and made if there is none.`,
		Example: `  aver search 'outcome:denied action:payment.* after:2026-11-01'
  aver search 'actor:ai_agent/payments -policy:baseline/* (exception:* OR approval:*)' --json
  aver search --count --by day kind:ai_agent allowed:true
  aver search --data ./data 'resource.amount:>100000 -activity:*'
  aver search --server http://127.0.0.1:8470 --saved denials`,
	}
	f := cmd.Flags()
	f.IntVar(&s.Limit, "limit", 20, "decisions on a page, from 1 to 1000 (`N`)")
	f.StringVar(&s.Cursor, "cursor", "", "`NEXT` of the page before")
	f.BoolVar(&s.Oldest, "oldest", false, "the oldest first")
	f.StringVar(&s.Saved, "saved", "", "use the saved query of this `NAME`; see aver saved")
	f.BoolVar(&count, "count", false, "only count them")
	f.StringVar(&by, "by", "", "count by `SPAN` of time: minute, hour, day, week, or such as 15m; implies --count")
	return c.reads(cmd, func(ctx context.Context, from source, args []string) error {
		if s.Query = strings.Join(args, " "); s.Saved != "" && s.Query != "" {
			return errors.New("give a QUERY or --saved NAME, not both")
		}
		if s.Limit < 1 || s.Limit > 1000 {
			return errors.New("--limit is from 1 to 1000; --cursor continues")
		}
		if _, err := parseQuery(args); err != nil {
			return err
		}
		if count || by != "" {
			return c.count(ctx, from, s, by)
		}
		found, err := from.SearchDecisions(ctx, s)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(found)
		}
		rows := make([][]string, len(found.Decisions))
		for i, e := range found.Decisions {
			if rows[i], err = foundRow(e); err != nil {
				return err
			}
		}
		if err := c.table("no decision matches", []string{"TIME", "OUTCOME", "ACTOR", "FOR", "ACTION", "RESOURCE", "EVALUATION"}, rows); err != nil {
			return err
		}
		c.noteBehind(found.Behind)
		if found.Next != "" {
			fmt.Fprintf(c.err, "note: there are more; --cursor %s shows them\n", found.Next)
		}
		return nil
	})
}

func (c *cli) noteBehind(entries uint64) {
	if entries > 0 {
		fmt.Fprintf(c.err, "note: %s of the log can't be searched yet: the index is still being made\n", plural(entries, "entry", "entries"))
	}
}

func (c *cli) count(ctx context.Context, from source, s client.DecisionSearch, by string) error {
	counted, err := from.CountDecisions(ctx, s, by)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(counted)
	}
	if by == "" {
		c.printf("%d\n", counted.Count)
		return nil
	}
	rows := make([][]string, len(counted.Buckets))
	for i, b := range counted.Buckets {
		rows[i] = []string{b.From.String(), fmt.Sprint(b.Count)}
	}
	return c.table("no decision matches", []string{"FROM", "DECISIONS"}, rows)
}

func (c *cli) trail() *cobra.Command {
	var s client.Story
	var format string
	cmd := &cobra.Command{
		Use:   "trail (--trace ID | --session ID | --actor PARTY | --grant ID | QUERY)",
		Short: "Follow a trace, a session, a party or a grant through both logs",
		Long: `Tells a story in its order: each decision, what became of it, what the next agent asked for because of it,
and the changes of authority that mattered (grants, approvals, exceptions, revocations, suspensions, signals,
policies), each with what it follows from. --actor takes an id or type/id, and finds what the party did
and what was done on its authority.

A trace or a session is known as far as records keep it: as context.trace, context.session and the like if a
bundle retains it, by the token that came with the request, and by the traceparent of activities. See
docs/search.md.`,
		Example: `  aver trail --session s-7f3a
  aver trail --actor ai_agent/payments --limit 20
  aver trail --grant g-ap-ann --format mermaid > trail.mmd
  aver trail --data ./data --trace 4bf92f3577b34da6a3ce929d0e0e4736 --format dot | dot -Tsvg > trail.svg`,
	}
	f := cmd.Flags()
	f.StringVar(&s.Trace, "trace", "", "the trace `ID`")
	f.StringVar(&s.Session, "session", "", "the session `ID`")
	f.StringVar(&s.Actor, "actor", "", "the `PARTY`, by its id or type/id")
	f.StringVar(&s.Grant, "grant", "", "the grant `ID`")
	f.IntVar(&s.Limit, "limit", 200, "decisions at most, the latest ones, up to 2000 (`N`)")
	f.StringVar(&format, "format", "text", "`FORMAT`: text, json, mermaid or dot")
	return c.reads(cmd, func(ctx context.Context, from source, args []string) error {
		given := 0
		s.Query = strings.Join(args, " ")
		for _, value := range []string{s.Trace, s.Session, s.Actor, s.Grant, s.Query} {
			if value != "" {
				given++
			}
		}
		switch {
		case given != 1:
			return errors.New("whose trail? Give one of --trace, --session, --actor, --grant, or a QUERY; see aver trail --help")
		case s.Limit < 1 || s.Limit > 2000:
			return errors.New("--limit is from 1 to 2000")
		case format != "text" && format != "json" && format != "mermaid" && format != "dot":
			return fmt.Errorf("--format %q: text, json, mermaid or dot", format)
		}
		if _, err := parseQuery(args); err != nil {
			return err
		}
		if c.json {
			format = "json"
		}
		story, err := from.Trail(ctx, s, format)
		if err != nil {
			return err
		}
		if format == "json" {
			return c.printJSON(json.RawMessage(story))
		}
		c.printf("%s", story)
		return nil
	})
}

func (c *cli) saved() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "saved",
		Short: "Queries that are kept under names",
		Long: `Queries that are kept on the server under names, for everybody who may search. They decide nothing and
are no evidence, so no event records them.`,
		Example: `  aver saved set denials 'outcome:denied -actor:probe' --description 'what was refused'
  aver search --saved denials
  aver saved list
  aver saved delete denials`,
	}
	return noun(cmd, c.savedList(), c.savedSet(), c.savedDelete())
}

// serverOnly makes cmd a command that needs a server.
func (c *cli) serverOnly(cmd *cobra.Command, do func(ctx context.Context, server *client.Client, args []string) error) *cobra.Command {
	var t target
	t.serverFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		server, err := c.connect(&t)
		if err != nil {
			return err
		}
		return do(cmd.Context(), server, args)
	}
	return cmd
}

func (c *cli) savedList() *cobra.Command {
	return c.serverOnly(&cobra.Command{
		Use: "list", Short: "List saved queries", Args: cobra.NoArgs, Example: "  aver saved list",
	}, func(ctx context.Context, server *client.Client, _ []string) error {
		list, err := server.SavedQueries(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(list)
		}
		rows := make([][]string, len(list))
		for i, q := range list {
			rows[i] = []string{q.Name, q.Query, q.By, q.Time.String(), q.Description}
		}
		return c.table("no query is saved", []string{"NAME", "QUERY", "BY", "AT", "DESCRIPTION"}, rows)
	})
}

func (c *cli) savedSet() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use: "set NAME QUERY", Short: "Save a query, in place of one of the same name", Args: exactly("a NAME", "a QUERY"),
		Example: "  aver saved set large 'resource.amount:>1000000 allowed:true'",
	}
	cmd.Flags().StringVar(&description, "description", "", "what it is for (`TEXT`)")
	return c.serverOnly(cmd, func(ctx context.Context, server *client.Client, args []string) error {
		if _, err := parseQuery(args[1:]); err != nil {
			return err
		}
		q, err := server.SaveQuery(ctx, args[0], args[1], description)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(q)
		}
		c.printf("saved %s\n", q.Name)
		return nil
	})
}

func (c *cli) savedDelete() *cobra.Command {
	return c.serverOnly(&cobra.Command{
		Use: "delete NAME", Short: "Forget a saved query", Args: exactly("a NAME"), Example: "  aver saved delete large",
	}, func(ctx context.Context, server *client.Client, args []string) error {
		if err := server.DeleteQuery(ctx, args[0]); err != nil {
			return err
		}
		if !c.json {
			c.printf("forgot %s\n", args[0])
		}
		return nil
	})
}

func (c *cli) index() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "The search index: how far it goes, and making it anew",
		Long: `The search index follows both logs and holds nothing that they do not. It lies in DIR/index; deleted, it is
built again by the server, or by the next command that needs it.`,
		Example: `  aver index status --server http://127.0.0.1:8470
  aver index rebuild --data ./data`,
	}
	return noun(cmd, c.indexStatus(), c.indexRebuild())
}

func (c *cli) indexStatus() *cobra.Command {
	return c.reads(&cobra.Command{
		Use: "status", Short: "How far the search index goes", Args: cobra.NoArgs,
		Example: "  aver index status --data ./data",
	}, func(ctx context.Context, from source, _ []string) error {
		s, err := from.IndexStatus(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(s)
		}
		c.printf("%s of %d in the decision log can be searched, %d of %d events were read\n",
			plural(s.Indexed, "entry", "entries"), s.Log, s.Events, s.Authority)
		c.printf("%s, %d bytes\n", plural(uint64(s.Partitions), "file", "files"), s.Bytes)
		return nil
	})
}

func (c *cli) indexRebuild() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "rebuild --data DIR", Short: "Delete the search index and make it anew", Args: cobra.NoArgs,
		Long: `Deletes the search index and makes it anew from the logs. No server may run on DIR: one that does keeps its
index up by itself.`,
		Example: "  aver index rebuild --data ./data",
	}
	cmd.Flags().StringVar(&data, "data", "", "the data directory `DIR`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if data == "" {
			return errors.New("aver index rebuild needs --data DIR")
		}
		ctx := cmd.Context()
		d, err := c.openDirectory(data)
		if err != nil {
			return err
		}
		defer d.close()
		err = index.Remove(datadir.Index(data))
		var x *index.Index
		if err == nil {
			x, err = index.Open(ctx, index.Options{Dir: datadir.Index(data), Decisions: d.logs.Decisions, Authority: d.logs.Authority})
		}
		if errors.Is(err, index.ErrLocked) {
			return fmt.Errorf("another process keeps the index of %s up; stop the server first: %w", data, err)
		}
		if err != nil {
			return err
		}
		defer x.Close()
		show, wipe := c.progress("entries")
		start := time.Now()
		err = x.Refresh(ctx, func(s index.Status) { show(indexRate(start, s), int64(s.Indexed), int64(s.Log)) })
		wipe()
		if err != nil {
			return err
		}
		took := time.Since(start)
		s := x.Status()
		if c.json {
			return c.printJSON(struct {
				index.Status
				Milliseconds int64 `json:"ms"`
			}{s, took.Milliseconds()})
		}
		c.printf("indexed %s in %s (%.0f a second), %d bytes\n", plural(s.Indexed, "entry", "entries"),
			took.Round(time.Millisecond), float64(s.Indexed)/took.Seconds(), s.Bytes)
		return nil
	}
	return cmd
}

// indexRate is how fast the index is made.
func indexRate(start time.Time, s index.Status) string {
	return fmt.Sprintf("indexing, %.0f a second", float64(s.Indexed)/max(time.Since(start).Seconds(), 0.001))
}

// indexing shows how far making the index is.
func (c *cli) indexing() (show func(index.Status), wipe func()) {
	bar, wipe := c.progress("entries")
	start := time.Now()
	return func(s index.Status) { bar(indexRate(start, s), int64(s.Indexed), int64(s.Log)) }, wipe
}
