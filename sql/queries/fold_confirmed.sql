-- fold_confirmed: those of these implausible usages of which a person said that they are right, by returning them.
-- $1 usages. Relies on decision_by_usage.
select distinct d.usage_id
from postmeter.decision d
where d.usage_id = any ($1) and d.verb = 'retry' and d.detail ->> 'reason' = 'implausible'
