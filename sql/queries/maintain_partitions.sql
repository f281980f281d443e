-- maintain_partitions: makes the partitions of the coming months.
-- $1 months ahead.
select postmeter.create_partitions($1)
