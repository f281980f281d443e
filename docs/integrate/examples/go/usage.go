// A shop that sells compute hours and records their usage with pgx 5, in its own transactions.
package usage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Usage has its quantity as text: a float64 would bring digits that nobody used.
type Usage struct {
	EventID     string
	Quantity    string
	UsedAt      time.Time
	Corrects    *string
	RequestID   *string
	Traceparent *string
}

const record = `
	select postmeter.record_usage(
		source => 'shop', event_id => @event_id, org => 'acme', product => 'compute', metric => 'hours',
		quantity => @quantity::text::numeric, used_at => @used_at, corrects => @corrects,
		request_id => @request_id, traceparent => @traceparent)::text`

// Record wants a transaction, so that usage cannot be recorded beside it by mistake.
func Record(ctx context.Context, tx pgx.Tx, u Usage) (id string, err error) {
	err = tx.QueryRow(ctx, record, pgx.NamedArgs{
		"event_id": u.EventID, "quantity": u.Quantity, "used_at": u.UsedAt, "corrects": u.Corrects,
		"request_id": u.RequestID, "traceparent": u.Traceparent,
	}).Scan(&id)
	return id, err
}

// FinishJob keeps our own row and its usage: both are there after the commit, or neither.
func FinishJob(ctx context.Context, db *pgx.Conn, u Usage) (id string, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into job (id, org) values ($1, 'acme')", u.EventID); err != nil {
			return err
		}
		id, err = Record(ctx, tx, u)
		return err
	})
	return id, err
}

// RecordOrFlag: the same event id with another content is a defect of ours. Keep our row, flag it, go on.
func RecordOrFlag(ctx context.Context, db *pgx.Conn, job string, u Usage) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into job (id, org) values ($1, 'acme')", job); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { // inside another one this is a savepoint
			_, err := Record(ctx, savepoint, u)
			return err
		})
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "PM002" {
			_, err = tx.Exec(ctx, "update job set flaw = $1 where id = $2", refused.Message, job)
		}
		return err
	})
}

// Verdict is what became of one item of a batch.
type Verdict struct {
	Item      int32
	Verdict   string
	ErrorCode *string
	Field     *string
}

// RecordMany records in one round trip. What is refused does not stop the rest: look at the verdicts.
func RecordMany(ctx context.Context, db *pgx.Conn, usages []map[string]string) (verdicts []Verdict, err error) {
	batch, err := json.Marshal(usages)
	if err != nil {
		return nil, err
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			select item, verdict, error_code, field
			from postmeter.record_usage_batch($1::text::jsonb) order by item`, string(batch))
		if err != nil {
			return err
		}
		verdicts, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Verdict])
		return err
	})
	return verdicts, err
}

// Refund is less than was recorded: a usage of its own below zero, in the hour of the one that it corrects.
func Refund(ctx context.Context, db *pgx.Conn, u Usage, quantity string) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := Record(ctx, tx, Usage{
			EventID: u.EventID + "-refund", Quantity: "-" + quantity, UsedAt: u.UsedAt, Corrects: &u.EventID,
		})
		return err
	})
}

// Copy takes rows of CSV: the fastest way in, for back-filling.
// One refused row refuses all; run again, it changes nothing.
func Copy(ctx context.Context, db *pgx.Conn, csv io.Reader) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Conn().PgConn().CopyFrom(ctx, csv, `
			copy postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
			from stdin (format csv)`)
		return err
	})
}
