-- request_retention: drops days of request_status beyond the retention.
select postmeter.drop_request_partitions()
