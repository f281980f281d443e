-- fold_traces: under which traces these usages were recorded. Only for a worker that tells traces.
-- $1 usages. Relies on the primary key of usage.
select distinct u.traceparent from postmeter.usage u where u.id = any ($1) and u.traceparent is not null
