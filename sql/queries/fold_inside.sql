-- fold_inside: ends and begins of subscriptions inside an hour, by org and product: usage is resolved by when it was used,
-- so a fold's kinds split there. Mostly none.
-- $1 the first hour of a fold, $2 its last. Relies on subscription_by_end and subscription_begins_inside.
select s.org, s.product, s.valid_until as at
from postmeter.subscription s
where s.valid_until > $1 and s.valid_until < $2::timestamptz + interval '1 hour' and s.valid_until <> postmeter.hour_of(s.valid_until)
union
select s.org, s.product, s.valid_from as at
from postmeter.subscription s
where s.valid_from > $1 and s.valid_from < $2::timestamptz + interval '1 hour' and s.valid_from <> postmeter.hour_of(s.valid_from)
