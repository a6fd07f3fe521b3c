package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"github.com/aver-authz/aver"
	"github.com/aver-authz/aver/client"
)

// source is where commands read from: a server, by its [client.Client], or a data directory.
type source interface {
	Bundles(ctx context.Context) iter.Seq2[client.Bundle, error]
	BundleVersion(ctx context.Context, name, digest string) (*client.Bundle, error)
	Identities(ctx context.Context) iter.Seq2[client.Identity, error]
	Identity(ctx context.Context, ref aver.Ref) (*client.Identity, error)
	Entities(ctx context.Context) iter.Seq2[client.Entity, error]
	Entity(ctx context.Context, ref aver.Ref) (*client.Entity, error)
	Grants(ctx context.Context) iter.Seq2[client.Grant, error]
	Grant(ctx context.Context, id string) (*client.Grant, error)
	Credentials(ctx context.Context) iter.Seq2[client.Credential, error]
	Approvals(ctx context.Context) iter.Seq2[client.Approval, error]
	Duties(ctx context.Context) iter.Seq2[client.Duty, error]
	Exceptions(ctx context.Context) iter.Seq2[client.Exception, error]
	Reviews(ctx context.Context) iter.Seq2[client.Review, error]
	Review(ctx context.Context, id string) (*client.Review, error)
	ReviewRows(ctx context.Context, id string) iter.Seq2[client.ReviewRow, error]
	ReviewsDue(ctx context.Context, days int) iter.Seq2[client.ReviewDue, error]
	Signals(ctx context.Context, about aver.Ref) iter.Seq2[client.Signal, error]

	Retention(ctx context.Context) (*client.Retention, error)
	Holds(ctx context.Context) iter.Seq2[client.Hold, error]
	Erasures(ctx context.Context) iter.Seq2[client.Erasure, error]
	Erased(ctx context.Context) iter.Seq2[client.Erased, error]

	Logs(ctx context.Context) (map[client.LogName]client.LogHead, error)
	Entries(ctx context.Context, log client.LogName, from uint64) iter.Seq2[client.Entry, error]
	DecisionProof(ctx context.Context, evaluationID string) (*client.Proof, error)
	EventProof(ctx context.Context, index uint64) (*client.Proof, error)
	Entry(ctx context.Context, log client.LogName, index uint64) (*client.Entry, error)
	Witnesses(ctx context.Context) (map[client.LogName]client.WitnessStatus, error)
	WitnessedDecisionProof(ctx context.Context, evaluationID string) (*client.Proof, error)
	WitnessedEventProof(ctx context.Context, index uint64) (*client.Proof, error)
	Consistency(ctx context.Context, log client.LogName, older, newer uint64) (*client.Consistency, error)

	Why(ctx context.Context, evaluationID string) (string, error)
	WhyJSON(ctx context.Context, evaluationID string) (json.RawMessage, error)

	SearchDecisions(ctx context.Context, s client.DecisionSearch) (*client.DecisionPage, error)
	CountDecisions(ctx context.Context, s client.DecisionSearch, by string) (*client.DecisionCount, error)
	Trail(ctx context.Context, s client.Story, format string) ([]byte, error)
	IndexStatus(ctx context.Context) (*client.IndexStatus, error)
}

var (
	_ source = (*client.Client)(nil)
	_ source = (*directory)(nil)
)

// source opens what a reading command works on.
func (c *cli) source(t *target) (s source, done func(), err error) {
	switch {
	case t.data != "" && t.server != "":
		return nil, nil, errors.New("give --server or --data, not both")
	case t.data != "":
		d, err := c.openDirectory(t.data)
		if err != nil {
			return nil, nil, err
		}
		return d, d.close, nil
	case t.server == "" && c.env("AVER_SERVER") == "":
		return nil, nil, errors.New("nothing to read was named: give --server URL (or set AVER_SERVER) or --data DIR")
	}
	server, err := c.connect(t)
	return server, func() {}, err
}
