-- record_batch: records many usages; a verdict per row.
-- $1 JSON array of usages.
select b.verdict, b.usage_id, b.error_code, b.field, b.message from postmeter.record_usage_batch($1) b order by b.item
