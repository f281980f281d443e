-- health_identities: since when the younger generation of identities is there, for how long its turn is overdue, and what both take.
select pg_catalog.jsonb_build_object(
    'began_at', postmeter.when_said(g.began_at),
    -- it raises where there is no row, and is then not asked
    'overdue_seconds', case when g.began_at is not null
                            then (select extract(epoch from t.overdue) from postmeter.identities_overdue() t) end,
    'bytes_before', pg_catalog.pg_total_relation_size('postmeter.usage_identity_before'::pg_catalog.regclass),
    'bytes', pg_catalog.pg_total_relation_size('postmeter.usage_identity'::pg_catalog.regclass))
from postmeter.setting s
left join postmeter.identity_generation g on true
