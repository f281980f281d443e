-- 0028_post_collations: keys are compared by their bytes, so that no new version of a collation library breaks their indexes.
-- programs: from 0028
-- lock: access exclusive on alert, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on alert_rule, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on cover, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on delivery, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on destination, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on dimension, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on held, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on idempotency, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on ledger_export, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on meter, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on meter_metric, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on migration, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on quota, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on reported, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on request, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on shadow_usage, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on subscription, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on timeline_break, grows with its rows: its indexes of texts are made anew
-- lock: access exclusive on token, grows with its rows: its indexes of texts are made anew

-- An index of texts is in the order of its collation, and the order of a language changes with the system's libraries:
-- after such an upgrade a unique index lets a key in twice, or does not find it. The bytes of a key stay. What a
-- comparison finds equal is the same under both, and a column's values are not written anew: its indexes are.
-- Orgs stay as they are: people sort by them, and no unique index relies on their order. After the older programs are gone:
-- they would go on with statements that Postgres prepared for the column as it was, and refuses.
do $$
declare
    v    record;
    s    text;
    left_over text[] := '{}';
    todo text[] := '{}';
    then_do text[] := '{}';
    names text[];
    path text := current_setting('search_path');
begin
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    -- somebody's own view over ours would have to go and come back: that is theirs to do
    select string_agg(distinct format('%I.%I', n.nspname, c.relname), ', ') into s
    from pg_depend d
    join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    join pg_class c on c.oid = r.ev_class
    join pg_namespace n on n.oid = c.relnamespace
    join pg_class o on d.refclassid = 'pg_class'::regclass and o.oid = d.refobjid
    where o.relnamespace = 'postmeter'::regnamespace and c.relnamespace <> o.relnamespace
      and (o.relkind = 'v' or o.relname in ('alert_rule', 'alert', 'cover', 'delivery', 'destination', 'dimension', 'held',
           'idempotency', 'ledger_export', 'meter', 'meter_metric', 'migration', 'quota', 'reported', 'request',
           'shadow_usage', 'subscription', 'timeline_break', 'token'));
    if s is not null then
        raise exception 'views of your own stand on tables or views of ours that are made anew: %', s
            using hint = 'Keep their definitions (pg_dump), drop them, run the migration, and create them again.';
    end if;
    -- a column that a view shows cannot change: views are made anew, to the letter
    for v in
        select c.oid, format('postmeter.%I', c.relname) as name, pg_get_viewdef(c.oid) as body, c.reloptions, c.relacl, c.relowner
        from pg_class c where c.relnamespace = 'postmeter'::regnamespace and c.relkind = 'v' order by c.oid
    loop
        todo := todo || format('create view %s%s as %s', v.name, ' with (' || array_to_string(v.reloptions, ', ') || ')', v.body);
        names := names || v.name;
        select then_do || coalesce(array_agg(line), '{}') into then_do
        from (select format('grant %s on %s to %s%s', a.privilege_type, v.name, coalesce(quote_ident(r.rolname), 'public'),
                            case when a.is_grantable then ' with grant option' else '' end) as line
              from aclexplode(v.relacl) a left join pg_roles r on r.oid = a.grantee where a.grantee <> v.relowner
              union all
              select format('grant %s (%I) on %s to %s%s', a.privilege_type, t.attname, v.name,
                            coalesce(quote_ident(r.rolname), 'public'),
                            case when a.is_grantable then ' with grant option' else '' end)
              from pg_attribute t cross join lateral aclexplode(t.attacl) a left join pg_roles r on r.oid = a.grantee
              where t.attrelid = v.oid
              union all
              select format('comment on %s is %L', case when d.objsubid = 0 then 'view ' || v.name
                                                        else format('column %s.%I', v.name, a.attname) end, d.description)
              from pg_description d left join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
              where d.objoid = v.oid and d.classoid = 'pg_class'::regclass) l;
    end loop;
    execute 'drop view ' || array_to_string(names, ', ');
    -- nor one that a function reads which was parsed when it was made
    for v in
        select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as body, p.proacl, p.proowner,
               obj_description(p.oid, 'pg_proc') as told
        from pg_proc p
        where p.pronamespace = 'postmeter'::regnamespace and p.prosqlbody is not null
          and exists (select from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
                        and a.attname in ('product', 'metric', 'buyer'))
          -- a row as a parameter is of a table whose keys are no texts
          and not exists (select from unnest(p.proargtypes) t(type) join pg_type y on y.oid = t.type where y.typrelid <> 0)
    loop
        then_do := array[v.body, format('revoke all on function %s from public', v.name), format('comment on function %s is %L', v.name, v.told)]
                   || (select coalesce(array_agg(format('grant execute on function %s to %I', v.name, r.rolname)), '{}')
                       from aclexplode(v.proacl) x join pg_roles r on r.oid = x.grantee where x.grantee <> v.proowner)
                   || then_do;
        execute 'drop function ' || v.name;
    end loop;

    for v in
        select format('postmeter.%I', k.table_name) as name, string_agg(format('alter column %I type text collate "C"', w.word), ', ') as changes
        from (values ('alert_rule', 'name'), ('alert', 'name subject'), ('cover', 'metric'), ('delivery', 'key'), ('destination', 'name'),
                     ('dimension', 'product metric'), ('held', 'product'), ('idempotency', 'caller key'), ('ledger_export', 'digest'),
                     ('meter', 'buyer dimension'), ('meter_metric', 'product metric'), ('migration', 'name'), ('quota', 'name'),
                     ('reported', 'buyer dimension state'), ('request', 'outcome'), ('shadow_usage', 'product'),
                     ('subscription', 'product buyer'), ('timeline_break', 'timeline'), ('token', 'name')) k(table_name, words)
        cross join lateral unnest(string_to_array(k.words, ' ')) w(word)
        group by k.table_name order by k.table_name
    loop
        -- nor a column that a trigger names
        select coalesce(array_agg(format('drop trigger %I on %s', g.tgname, v.name)), '{}'), then_do || coalesce(array_agg(pg_get_triggerdef(g.oid)), '{}')
        into left_over, then_do
        from pg_trigger g
        where g.tgrelid = v.name::regclass and not g.tgisinternal
          and exists (select from pg_depend d where d.classid = 'pg_trigger'::regclass and d.objid = g.oid and d.refobjid = g.tgrelid and d.refobjsubid > 0);
        foreach s in array left_over loop
            execute s;
        end loop;
        execute format('alter table %s %s', v.name, v.changes);
        -- what was known of the columns is gone with their type
        execute format('analyze %s', v.name);
    end loop;

    -- a view may stand on others
    while cardinality(todo) > 0 loop
        left_over := '{}';
        foreach s in array todo loop
            begin
                execute s;
            exception when undefined_table then
                left_over := left_over || s;
            end;
        end loop;
        if cardinality(left_over) = cardinality(todo) then
            raise exception 'cannot be made again: %', todo[1];
        end if;
        todo := left_over;
    end loop;
    foreach s in array then_do loop
        execute s;
    end loop;
    perform set_config('search_path', path, true);
end
$$;

insert into postmeter.migration (version, name) values (28, '0028_post_collations');
