-- balance_read_usage: usage up to this slice was read again in turn.
-- $1 the slice.
select postmeter.read_usage_anew($1)
