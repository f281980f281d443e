-- request_partitions: makes day partitions of request_status and moves what waits in the default partition.
-- $1 days ahead, $2 days back.
select postmeter.create_request_partitions($1, $2)
