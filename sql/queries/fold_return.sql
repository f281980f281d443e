-- fold_return: entries whose hour was cut while they were being folded go back to the outbox; the next fold knows better.
-- $1 usages.
insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                              request_id, traceparent, attributes, returned)
select u.id, u.source, u.event_id, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects,
       u.request_id, u.traceparent, u.attributes, true
from postmeter.usage u
where u.id = any ($1)
