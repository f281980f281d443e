-- request_as_of: as of when requests and their counts are.
select postmeter.requests_as_of() as as_of
