-- health_collations: collations that columns of this database use and whose version is another than when they were made.
select pg_catalog.jsonb_build_object('collation', c.oid::regcollation::text, 'then', c.collversion, 'now', pg_catalog.pg_collation_actual_version(c.oid))
from pg_catalog.pg_collation c
where c.collversion <> pg_catalog.pg_collation_actual_version(c.oid)
  and exists (select from pg_catalog.pg_attribute a where a.attcollation = c.oid)
order by c.oid::regcollation::text
