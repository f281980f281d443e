-- alert_settle_post: notes what the receiver answered.
-- $1 number, $2 HTTP status, $3 why it has not arrived; null: it has.
select postmeter.settle_alert_post($1, $2, $3)
