-- foretell_usage: what would become of a batch of usages if it was recorded now.
-- $1 the batch, as JSON.
select f.item, f.verdict, f.usage_id, f.error_code, f.field, f.message, f.fate, f.reason, f.destination, f.hour, f.delivery_id
from postmeter.foretell_usage($1) f
order by f.item
