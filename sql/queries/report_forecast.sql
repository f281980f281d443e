-- report_forecast: per destination, what will miss its deadline at the present rate.
-- No parameters. Reads view postmeter.forecast: every waiting remittance once.
select f.destination, f.waiting, f.misses, f.all_sent_by, f.first_missed_deadline
from postmeter.forecast f order by f.destination
