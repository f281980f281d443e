-- fold_return: entries whose hour was cut while they were being folded go back to the outbox; the next fold knows better.
-- $1 usages, $2 when each came into it: it waits since then.
insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                              request_id, traceparent, attributes, returned, entered_at)
select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
       u.request_id, u.traceparent, u.attributes, true, g.entered_at
from unnest($1, $2) g(id, entered_at)
join postmeter.usage u on u.id = g.id
