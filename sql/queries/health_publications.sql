-- health_publications: publications that send what only this database may fold: the outbox and the identities.
select distinct pg_catalog.jsonb_build_object('publication', pg_catalog.quote_ident(p.pubname::text), 'table', coalesce(q.relname, c.relname), 'everything', p.puballtables,
    'named', exists (select from pg_catalog.pg_publication_rel x where x.prpubid = p.oid and x.prrelid = coalesce(q.oid, c.oid)))
from pg_catalog.pg_publication p
join pg_catalog.pg_publication_tables t on t.pubname = p.pubname
join pg_catalog.pg_class c on c.relname = t.tablename and c.relnamespace = 'postmeter'::regnamespace
left join pg_catalog.pg_inherits i on i.inhrelid = c.oid
left join pg_catalog.pg_class q on q.oid = i.inhparent
where t.schemaname = 'postmeter'::name
  and (coalesce(q.relname, c.relname) = 'outbox'::name or coalesce(q.relname, c.relname) = 'usage_identity'::name
       or coalesce(q.relname, c.relname) = 'usage_identity_before'::name)
