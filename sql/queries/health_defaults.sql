-- health_defaults: what this database, and the users that have a role of ours, set for their sessions. Superusers are left out.
select pg_catalog.jsonb_build_object('user', pg_catalog.quote_ident(r.rolname::text), 'here', s.setdatabase <> 0::oid, 'database', pg_catalog.quote_ident(pg_catalog.current_database()::text),
    'name', pg_catalog.split_part(c.setting, '=', 1), 'value', pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1))
from pg_catalog.pg_db_role_setting s
left join pg_catalog.pg_roles r on r.oid = s.setrole
cross join pg_catalog.unnest(s.setconfig) c(setting)
where (s.setdatabase = 0::oid or s.setdatabase = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))
  and (s.setrole = 0::oid or (not r.rolsuper and exists (
      select from pg_catalog.pg_roles p
      where pg_catalog.starts_with(p.rolname::text, 'postmeter_') and pg_catalog.pg_has_role(s.setrole, p.oid, 'member'))))
order by r.rolname nulls first, c.setting
