-- A schema that answers for everything: each function, operator, type and relation of pg_catalog that our SQL names, for
-- all the types that a call may bring: those which become the declared one by themselves, and for what takes any type, all
-- the usual ones. Whoever calls one of them is told that it was fooled. `our_sql` is a table with our SQL.
create schema hostile;
grant usage, create on schema hostile to public;

create function hostile.fooled(what text) returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'FOOLED: % runs as %', what, current_user;
end
$$;

create temp table usual as
select t.oid, t.typname, t.typelem <> 0 and t.typlen = -1 as is_array
from pg_catalog.pg_type t
where t.typnamespace = 'pg_catalog'::regnamespace
  and t.typname in ('text', 'varchar', 'name', 'char', 'int2', 'int4', 'int8', 'numeric', 'float8', 'bool', 'timestamptz', 'timestamp',
                    'date', 'interval', 'uuid', 'jsonb', 'json', 'bytea', 'oid', 'regclass', 'xid8', 'pg_lsn', 'record', 'bit', 'varbit',
                    '_text', '_int4', '_int8', '_uuid', '_numeric', '_timestamptz', '_bool', '_date', '_name', '_jsonb', '_oid');

-- what a declared type takes: itself, and what is cast to it without a word
create temp table takes as
select u.oid as declared, u.oid as given from usual u
union
select c.casttarget, c.castsource from pg_catalog.pg_cast c join usual u on u.oid = c.castsource where c.castcontext = 'i'
union
select p.oid, u.oid from pg_catalog.pg_type p, usual u
where p.typname in ('any', 'anyelement', 'anycompatible')
   or (p.typname in ('anyarray', 'anycompatiblearray') and u.is_array)
   or (p.typname in ('anynonarray', 'anycompatiblenonarray') and not u.is_array);

create temp table named as
select distinct m[1] as name from our_sql, pg_catalog.regexp_matches(our_sql.sql, '([a-z_][a-z_0-9]*)\s*\(', 'g') m
union select pg_catalog.unnest(array['now', 'timezone', 'date_part', 'extract', 'overlay', 'position', 'substring', 'btrim', 'textlike']);

-- signatures of functions with up to three arguments; longer ones as they are
create temp table shadow as
with f as (
    select p.oid, p.proname, p.proargtypes::oid[] as args, p.pronargs as n, p.prorettype,
           p.prorettype in (select x.oid from pg_catalog.pg_type x where x.typtype = 'p') as odd
    from pg_catalog.pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind <> 'p' and p.proname in (select n.name from named n)
), one as (
    select f.proname, array[a.given] as args, f.prorettype, f.odd from f join takes a on a.declared = f.args[0] where f.n = 1
), two as (
    select f.proname, array[a.given, b.given] as args, f.prorettype, f.odd
    from f join takes a on a.declared = f.args[0] join takes b on b.declared = f.args[1] where f.n = 2
), three as (
    select f.proname, array[a.given, b.given, c.given] as args, f.prorettype, f.odd
    from f join takes a on a.declared = f.args[0] join takes b on b.declared = f.args[1] join takes c on c.declared = f.args[2]
    where f.n = 3
      -- of what takes anything three times, only what is of one type
      and (a.declared = a.given or b.declared = b.given or a.given = c.given)
), pair as (
    -- what takes any number of anything: two, as it is called most often. A test asks for longer calls to be qualified.
    select p.proname, array['text'::regtype::oid, u.oid] as args, p.prorettype, false
    from pg_catalog.pg_proc p, usual u
    where p.pronamespace = 'pg_catalog'::regnamespace and p.provariadic = '"any"'::regtype and p.pronargs = 1
      and p.proname in (select n.name from named n)
), plain as (
    select f.proname, f.args, f.prorettype, f.odd from f where f.n = 0 or f.n > 3
)
select distinct on (proname, args) proname, args, case when odd then 'text'::regtype else prorettype end as returns
from (select * from one union all select * from two union all select * from three union all select * from pair union all select * from plain) s
where not exists (select from pg_catalog.unnest(args) a join pg_catalog.pg_type t on t.oid = a where t.typtype = 'p' and t.typname <> 'record');

create temp table shadow_operator as
select distinct on (o.oprname, l.given, r.given) o.oprname, l.given as l, r.given as r, o.oprresult as returns
from pg_catalog.pg_operator o
join takes l on l.declared = o.oprleft
join takes r on r.declared = o.oprright
where o.oprnamespace = 'pg_catalog'::regnamespace
  and exists (select from our_sql s where pg_catalog.strpos(s.sql, o.oprname) > 0)
  and o.oprresult not in (select x.oid from pg_catalog.pg_type x where x.typtype = 'p' and x.typname <> 'record');

do $make$
declare
    s record;
    n integer := 0;
    types text;
begin
    for s in select * from shadow loop
        select string_agg(format('pg_catalog.%I', t.typname), ', ' order by a.place) into types
        from unnest(s.args) with ordinality a(type, place) join pg_type t on t.oid = a.type;
        begin
            execute format('create function hostile.%I(%s) returns %s language plpgsql as %L', s.proname, types, s.returns::regtype,
                format('begin perform hostile.fooled(%L); end', s.proname || '(' || coalesce(types, '') || ')'));
            n := n + 1;
        exception when others then null; -- what cannot be made shadows nothing
        end;
    end loop;
    for s in select o.*, format('pg_catalog.%I', l.typname) as ll, format('pg_catalog.%I', r.typname) as rr
             from shadow_operator o join pg_type l on l.oid = o.l join pg_type r on r.oid = o.r loop
        n := n + 1;
        begin
            execute format('create function hostile.op_%s(%s, %s) returns %s language plpgsql as %L', n, s.ll, s.rr, s.returns::regtype,
                format('begin perform hostile.fooled(%L); end', s.ll || ' ' || s.oprname || ' ' || s.rr));
            execute format('create operator hostile.%s (leftarg = %s, rightarg = %s, function = hostile.op_%s)', s.oprname, s.ll, s.rr, n);
        exception when others then null;
        end;
    end loop;
end
$make$;

-- types: what is written without its schema and read as a domain that takes nothing
do $make$
declare
    t record;
begin
    for t in select u.typname from usual u where not u.is_array and u.typname <> 'record' loop
        execute format('create domain hostile.%I as pg_catalog.%I check (hostile.fooled(%L) is null)', t.typname, t.typname, 'type ' || t.typname);
    end loop;
    for t in select c.relname from pg_class c where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind in ('r', 'v')
             and exists (select from our_sql s where pg_catalog.strpos(s.sql, c.relname) > 0) loop
        execute format('create view hostile.%I as select hostile.fooled(%L) as oid', t.relname, 'relation ' || t.relname);
    end loop;
end
$make$;
grant execute on all functions in schema hostile to public;
grant select on all tables in schema hostile to public;
