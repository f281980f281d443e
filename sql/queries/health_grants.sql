-- health_grants: who may create in schema postmeter besides its owner, and whether everybody may in public.
select pg_catalog.jsonb_build_object('schema', n.nspname, 'grantee', coalesce(pg_catalog.quote_ident(r.rolname::text), 'public'))
from pg_catalog.pg_namespace n
cross join lateral pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
left join pg_catalog.pg_roles r on r.oid = a.grantee
where a.privilege_type = 'CREATE'
  and ((n.nspname = 'public'::name and a.grantee = 0::oid) or (n.nspname = 'postmeter'::name and a.grantee <> n.nspowner))
order by n.nspname, r.rolname
