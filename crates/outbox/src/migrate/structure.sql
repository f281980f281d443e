-- structure: what makes the schema $1, one line each, in words that are the same in every version of Postgres.
-- Partitions
-- of a month or a day are left out: they depend on the date.
with tables as (
    select c.oid, c.relname, c.relkind, c.relowner, c.relacl
    from pg_catalog.pg_class c
    where c.relnamespace = $1::pg_catalog.text::pg_catalog.regnamespace and c.relkind in ('r', 'p', 'v', 'S')
      and c.relname !~ '_([0-9]{6}|[0-9]{8})(_|$)'
), attributes as (
    select t.relname, t.relkind, t.relowner, a.*,
           pg_catalog.row_number() over (partition by a.attrelid order by a.attnum) as place
    from tables t
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    where t.relkind <> 'S'
), functions as (
    select p.*, l.lanname,
           pg_catalog.format('%s(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) as signature
    from pg_catalog.pg_proc p
    join pg_catalog.pg_language l on l.oid = p.prolang
    where p.pronamespace = $1::pg_catalog.text::pg_catalog.regnamespace
), grants as (
    select t.relname::pg_catalog.text as what, t.relowner as owner, t.relacl as acl
    from tables t where t.relacl is not null
    union all
    select a.relname || '.' || a.attname, a.relowner, a.attacl from attributes a where a.attacl is not null
    union all
    -- without a grant written down, everybody may call it
    select f.signature, f.proowner, coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner)) from functions f
), lines as (
    select case t.relkind when 'v' then 'view ' when 'S' then 'sequence ' else 'table ' end || t.relname as line
    from tables t
    union all
    select pg_catalog.concat_ws(' ', 'column', a.relname || '.' || a.attname, a.place,
                                pg_catalog.format_type(a.atttypid, a.atttypmod),
                                case when a.attnotnull then 'not null' end, case when a.atthasdef then 'default' end,
                                nullif(a.attidentity::pg_catalog.text, ''), nullif(a.attgenerated::pg_catalog.text, ''))
    from attributes a
    union all
    -- 18 has a constraint for what a column's line says: that it is not null
    select pg_catalog.concat_ws(' ', 'constraint', t.relname || '.' || k.conname, k.contype,
                                (select pg_catalog.string_agg(a.attname, ',' order by a.attname)
                                 from pg_catalog.pg_attribute a
                                 where a.attrelid = k.conrelid and a.attnum = any(k.conkey)))
    from tables t
    join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype in ('c', 'p', 'u', 'f', 'x')
    union all
    -- usage is found by its request id once postmeter.index_requests has made that index
    select pg_catalog.concat_ws(' ', 'index', t.relname || '.' || c.relname, case when i.indisunique then 'unique' end,
                                case when i.indpred is not null then 'partial' end,
                                (select pg_catalog.string_agg(
                                            coalesce(a.attname, 'expression') || ':' || i.indoption[k.n - 1], ','
                                            order by k.n)
                                 from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
                                 left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                                      and k.attnum <> 0))
    from tables t
    join pg_catalog.pg_index i on i.indrelid = t.oid
    join pg_catalog.pg_class c on c.oid = i.indexrelid
    where c.relname <> 'usage_request' and c.relname !~ '^usage_default_.*request'
    union all
    select pg_catalog.concat_ws(' ', 'trigger', t.relname || '.' || g.tgname, p.proname, g.tgtype, g.tgenabled)
    from tables t
    join pg_catalog.pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
    join pg_catalog.pg_proc p on p.oid = g.tgfoid
    union all
    -- neither comments nor line breaks count, nor how a literal is continued
    select pg_catalog.concat_ws(' ', 'function', f.signature, 'returns', pg_catalog.pg_get_function_result(f.oid),
                                f.lanname, f.provolatile, case when f.prosecdef then 'definer' end,
                                pg_catalog.array_to_string(f.proconfig, ' '),
                                case when f.prosqlbody is null and f.prokind = 'f' then
                                    pg_catalog.md5(pg_catalog.regexp_replace(pg_catalog.regexp_replace(
                                        pg_catalog.regexp_replace(f.prosrc, '(^|\s)--\s[^\n]*', '', 'g'),
                                        '''\s*\n\s*''', '', 'g'), '\s+', '', 'g')) end)
    from functions f
    union all
    select pg_catalog.concat_ws(' ', 'grant', x.privilege_type, 'on', g.what, 'to', coalesce(r.rolname, 'public'))
    from grants g
    cross join lateral pg_catalog.aclexplode(g.acl) x
    left join pg_catalog.pg_roles r on r.oid = x.grantee
    where x.grantee <> g.owner and (x.grantee = 0 or r.rolname like 'postmeter\_%')
)
select pg_catalog.replace(l.line, 'postmeter_before.', 'postmeter.') from lines l
