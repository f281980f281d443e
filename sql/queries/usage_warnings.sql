-- usage_warnings: which of these usages are, or will be, held or counted in another hour than their own.
-- $1 usages. Relies on usage_pkey, allocation_pkey, held_pkey.
select w.usage_id, w.fate, w.reason, w.destination, w.hour, w.delivery_id from postmeter.usage_warnings($1) w
