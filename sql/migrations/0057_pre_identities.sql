-- 0057_pre_identities: an identity is kept for as long as it can be repeated, by source and event id, and no longer.
-- programs: from 0022
-- lock: access exclusive on correction_list, for a moment: a view that asks no identities
-- lock: access exclusive on setting, grows with its rows: columns of its one row
-- lock: access exclusive on usage, grows with its rows: a column, filled in for corrections
-- lock: share row exclusive on outbox, for a moment: what was recorded while identities were copied is copied, too

-- identities ------------------------------------------------------------------------------------------------------------

create table postmeter.identity_next (
    source   text collate "C" not null,
    event_id text collate "C" not null,
    usage_id uuid not null,
    identity uuid
);
create table postmeter.usage_identity_before (
    source   text collate "C" not null,
    event_id text collate "C" not null,
    usage_id uuid not null,
    constraint usage_identity_before_pkey primary key (source, event_id)
);

create table postmeter.identity_generation (
    began_at timestamptz not null
);
comment on table postmeter.identity_generation is
    'When the younger generation of identities began: one row. It is truncated and written anew at each turn, so that a transaction whose snapshot is older sees none; it must not record, for it cannot see what was recorded since.';
comment on column postmeter.identity_generation.began_at is 'When usage_identity began, on postmeter.clock().';
insert into postmeter.identity_generation (began_at) values (postmeter.clock());

set local maintenance_work_mem = '256MB';
-- whoever began before had ended: the copy has what they recorded
select set_config('postmeter.copied_before', (pg_snapshot_xmin(pg_current_snapshot())::text::numeric % 4294967296)::text, true);
-- All but what is recorded meanwhile is copied before anybody has to wait. Where the clock may move, ids tell nothing.
insert into postmeter.identity_next (source, event_id, usage_id)
select u.source, u.event_id, u.id
from postmeter.usage u
where u.id >= (select case when s.purpose = 'production'
                           then postmeter.id_at(clock_timestamp() - s.usage_age_max - interval '1 day')
                           else '00000000-0000-0000-0000-000000000000' end
               from postmeter.setting s);
alter table postmeter.identity_next add constraint identity_next_pkey primary key (source, event_id);
create index usage_identity_corrected on postmeter.identity_next (identity) where identity is not null;

-- From here on intake waits. In the order in which it takes them, so that nobody waits for each other.
lock table postmeter.outbox, postmeter.usage_identity in share row exclusive mode;
insert into postmeter.identity_next (source, event_id, usage_id)
select u.source, u.event_id, u.id
from (select i.usage_id
      from postmeter.usage_identity i
      where age(i.xmin) <= age(current_setting('postmeter.copied_before')::xid)
      offset 0) k
-- few: each is looked up
cross join lateral (select x.source, x.event_id, x.id from postmeter.usage x where x.id = k.usage_id offset 0) u
on conflict do nothing;

-- settings --------------------------------------------------------------------------------------------------------------

update postmeter.setting set usage_lead_max = interval '1 day' where usage_lead_max > interval '1 day';
alter table postmeter.setting add column identities_from timestamptz not null default '-infinity';
-- squawk-ignore constraint-missing-not-valid -- one row
alter table postmeter.setting add constraint setting_usage_lead_bound check (usage_lead_max <= interval '1 day');
alter table postmeter.setting alter column usage_age_max set default '45 days';
comment on column postmeter.setting.usage_age_max is
    'Usage older than this is refused (PM005). Identities are kept at least as long, and about twice as long at most.';
comment on column postmeter.setting.usage_lead_max is 'Usage further ahead than this is refused (PM006). A day at most.';
comment on column postmeter.setting.identities_from is
    'Usage of before this is refused (PM005), whatever usage_age_max says: identities of that age were forgotten, or their month was dropped. Only turns of the generations and dropped months move it.';
-- where nothing was recorded yet, nobody has chosen
update postmeter.setting set usage_age_max = '45 days' where not exists (select from postmeter.usage);

alter table postmeter.usage add column corrected_id uuid;
comment on column postmeter.usage.corrected_id is 'The usage that this one corrects.';
comment on column postmeter.usage.corrected_identity is
    'Hash of source and corrects (postmeter.usage_identity_of): finds the corrections of a usage.';
-- what was dropped has no identities, and what is older was not copied
update postmeter.setting s
set identities_from = coalesce((select max(d.used_until) + interval '1 microsecond' from postmeter.ledger_drop d), '-infinity');
update postmeter.setting s
set identities_from = greatest(s.identities_from, postmeter.clock() - s.usage_age_max)
where s.purpose = 'production'
  and exists (select from postmeter.usage u
              where u.id < postmeter.id_at(clock_timestamp() - s.usage_age_max - interval '1 day'));

do $$
declare
    part regclass;
begin
    for part in
        select 'postmeter.usage'::regclass
        union all select i.inhrelid from pg_inherits i where i.inhparent = 'postmeter.usage'::regclass
    loop
        execute format('alter table %s disable trigger append_only', part);
    end loop;
    -- few usages correct
    update postmeter.usage u
    set corrected_id = (select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity)
    where u.corrected_identity is not null;
    update postmeter.identity_next n set identity = c.corrected_identity
    from postmeter.usage c
    cross join lateral (select o.source, o.event_id from postmeter.usage o where o.id = c.corrected_id offset 0) o
    where c.corrected_identity is not null and n.source = o.source and n.event_id = o.event_id;
    for part in
        select 'postmeter.usage'::regclass
        union all select i.inhrelid from pg_inherits i where i.inhparent = 'postmeter.usage'::regclass
    loop
        execute format('alter table %s enable trigger append_only', part);
    end loop;
end
$$;

-- what asked the identities where a corrected usage is --------------------------------------------------------------------

create or replace function postmeter.marked_usage(marks bigint[], deliveries bigint[], unread boolean)
returns table (usage_id uuid, delivery_id bigint, destination_id integer, org text, product text, metric text, hour timestamptz,
               quantity numeric, to_destination_id integer, to_buyer text, to_dimension text, exemption_id bigint, reason text)
language sql stable
set enable_nestloop = off set jit = off  -- many usages of many kinds
begin atomic
    with mark as materialized (
        select distinct c.destination_id, c.buyer, c.org, c.product
        from postmeter.catalogue_mark c where marked_usage.marks is null or c.id = any (marked_usage.marks)
    ), opened as materialized (
        -- each once, with what can have moved in it
        select d.id, d.round, case when bool_or(k.org is null) then null else array_agg(distinct k.org) end as orgs,
               case when bool_or(k.product is null) then null else array_agg(distinct k.product) end as products
        from mark k
        join postmeter.destination t on t.id = k.destination_id
        join postmeter.meter m on m.destination_id = k.destination_id and m.buyer = k.buyer
        join postmeter.delivery d on d.meter_id = m.id
        where d.status = 'open'
          and case when marked_usage.deliveries is null then d.hour > (select postmeter.clock()) - t.age_limit - interval '1 day'
                   else d.id = any (marked_usage.deliveries) end
        group by d.id, d.round
    ), counted as materialized (
        select a.usage_id, a.delivery_id, a.destination_id, a.meter_metric_id, a.hour, a.quantity, u.org, u.product, u.metric, u.account,
               u.used_at, u.corrected_id
        from opened o
        -- fences: look-ups by key, whatever the statistics say
        cross join lateral (select y.* from postmeter.allocation y where y.delivery_id = o.id and y.round = o.round offset 0) a
        join postmeter.subscription s on s.id = a.subscription_id
         and (o.orgs is null or s.org = any (o.orgs)) and (o.products is null or s.product = any (o.products))
        cross join lateral (select y.* from postmeter.usage y where y.id = a.usage_id offset 0) u
    ), inside as materialized (
        -- usage is resolved by when it was used where a subscription ends or begins inside the hour
        select x.org, x.product, x.at
        from (select min(c.hour) as first, max(c.hour) + interval '1 hour' as last from counted c) b
        cross join lateral (
            select s.org, s.product, s.valid_until as at from postmeter.subscription s
            where s.valid_until > b.first and s.valid_until < b.last and s.valid_until <> postmeter.hour_of(s.valid_until)
            union
            select s.org, s.product, s.valid_from from postmeter.subscription s
            where s.valid_from > b.first and s.valid_from < b.last and s.valid_from <> postmeter.hour_of(s.valid_from)) x
    ), timed as materialized (
        select c.*, coalesce((select max(i.at) from inside i where i.org = c.org and i.product = c.product and i.at > c.hour and i.at <= c.used_at),
                             c.hour) as at
        from counted c where c.corrected_id is null
    ), kind as materialized (
        select t.delivery_id, t.meter_metric_id, t.org, t.account, t.hour, t.at, row_number() over () as item
        from timed t group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.delivery_id order by k.item) as deliveries, array_agg(k.meter_metric_id order by k.item) as meter_metrics,
               array_agg(k.org order by k.item) as orgs, array_agg(k.account order by k.item) as accounts,
               array_agg(k.hour order by k.item) as hours, array_agg(k.at order by k.item) as moments
        from kind k
    ), moved as materialized (
        select t.usage_id, t.delivery_id, t.destination_id, t.org, t.product, t.metric, t.hour, t.quantity,
               o.to_destination_id, o.to_buyer, o.to_dimension, o.exemption_id, o.reason
        from given g
        cross join lateral postmeter.placed_otherwise(g.deliveries, g.meter_metrics, g.orgs, g.accounts, g.hours, g.moments,
                                                      marked_usage.unread) o
        join kind k on k.item = o.item
        join timed t on t.delivery_id = k.delivery_id and t.meter_metric_id = k.meter_metric_id and t.org = k.org
         and t.account is not distinct from k.account and t.hour = k.hour and t.at = k.at
    )
    select m.usage_id, m.delivery_id, m.destination_id, m.org, m.product, m.metric, m.hour, m.quantity,
           m.to_destination_id, m.to_buyer, m.to_dimension, m.exemption_id, m.reason
    from moved m
    union all
    -- a correction goes where what it corrects goes
    select c.usage_id, c.delivery_id, c.destination_id, c.org, c.product, c.metric, m.hour, c.quantity,
           m.to_destination_id, m.to_buyer, m.to_dimension, m.exemption_id, m.reason
    from counted c
    join moved m on m.usage_id = c.corrected_id and m.delivery_id = c.delivery_id
    where c.corrected_id is not null;
end;

create or replace function postmeter.marked_exempt(marks bigint[])
returns table (usage_id uuid, exemption_id bigint, org text, product text, metric text, hour timestamptz, quantity numeric,
               to_destination_id integer, to_buyer text, to_dimension text)
language sql stable
begin atomic
    with counted as materialized (
        select x.usage_id, x.exemption_id, u.org, u.product, u.metric, u.account, u.quantity, postmeter.hour_of(u.used_at) as hour,
               postmeter.resolved_at(u.org, u.product, u.used_at) as at, u.corrected_id
        from (select distinct c.exemption_id from postmeter.catalogue_mark c where c.id = any (marked_exempt.marks) and c.exemption_id is not null) k
        join postmeter.exemption e on e.id = k.exemption_id
        join postmeter.exempted x on x.exemption_id = k.exemption_id
         -- hours that are open are of usage that was recorded lately
         and x.usage_id >= postmeter.id_at(clock_timestamp() - (select max(t.age_limit) + interval '1 day' from postmeter.destination t))
        join postmeter.usage u on u.id = x.usage_id
        where u.org <> e.org or u.product <> e.product or u.used_at < e.valid_from or u.used_at >= e.valid_until
           or u.corrected_id is not null
    ), kind as materialized (
        select c.org, c.product, c.metric, c.account, c.hour, c.at, row_number() over () as item
        from counted c where c.corrected_id is null group by 1, 2, 3, 4, 5, 6
    ), given as (
        select array_agg(k.org order by k.item) as orgs, array_agg(k.product order by k.item) as products,
               array_agg(k.metric order by k.item) as metrics, array_agg(k.account order by k.item) as accounts,
               array_agg(k.at order by k.item) as moments
        from kind k
    ), billed as materialized (
        select k.*, r.destination_id, r.buyer, n.name
        from given g
        cross join lateral postmeter.resolve(g.orgs, g.products, g.metrics, g.accounts, g.moments) r
        join kind k on k.item = r.item
        join postmeter.dimension n on n.id = r.dimension_id
        join postmeter.destination t on t.id = r.destination_id
        left join postmeter.meter m on m.destination_id = t.id and m.buyer = r.buyer and m.dimension = n.name
         and m.month = postmeter.month_of(k.hour, t.zone)
        left join postmeter.delivery d on d.meter_id = m.id and d.hour = k.hour
        where r.exemption_id is null and r.reason is null
          -- of an hour that is cut, or would have been, it stays what it was
          and case when d.id is null then k.hour + interval '1 hour' + t.grace > (select postmeter.clock()) else d.status = 'open' end
    ), moved as materialized (
        select c.*, b.destination_id, b.buyer, b.name
        from counted c
        join billed b on b.org = c.org and b.product = c.product and b.metric = c.metric and b.account is not distinct from c.account
         and b.hour = c.hour and b.at = c.at
        where c.corrected_id is null
    )
    select m.usage_id, m.exemption_id, m.org, m.product, m.metric, m.hour, m.quantity, m.destination_id, m.buyer, m.name from moved m
    union all
    -- a correction goes where what it corrects goes, or has gone
    select c.usage_id, c.exemption_id, c.org, c.product, c.metric, coalesce(m.hour, c.hour), c.quantity, m.destination_id, m.buyer, m.name
    from counted c
    left join moved m on m.usage_id = c.corrected_id
    where c.corrected_id is not null
      and (m.usage_id is not null or exists (select from postmeter.outbox o
                                             where o.shard = (hashtextextended(c.org, 0) & 1023)::smallint and o.id = c.corrected_id)
           or exists (select from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id and t.shadow_of is null
                      where a.usage_id = c.corrected_id));
end;

create or replace view postmeter.correction_list as
select c.id as usage_id, c.source, c.event_id, c.corrects, o.id as corrected_usage_id, c.org, c.account, c.product, c.metric,
       c.quantity, postmeter.hour_of(coalesce(o.used_at, c.used_at)) as hour, c.recorded_at,
       case when a.delivery_id is not null then 'allocated' when h.usage_id is not null then 'held'
            when x.usage_id is not null then 'exempt' when w.usage_id is not null then 'written_off'
            else 'waiting' end as whereabouts,
       case when a.delivery_id is not null then case when a.is_open then 'waiting' else 'counted' end
            when x.usage_id is not null or w.usage_id is not null then 'none' else 'waiting' end as effect,
       h.reason, t.name as destination, a.delivery_id
from postmeter.usage c
left join lateral (select u.id, u.used_at from postmeter.usage u where u.id = c.corrected_id) o on true
left join lateral (
    select y.destination_id, y.delivery_id, d.status = 'open' and d.round = y.round as is_open
    from postmeter.allocation y
    join postmeter.destination l on l.id = y.destination_id and l.shadow_of is null
    join postmeter.delivery d on d.id = y.delivery_id
    where y.usage_id = c.id) a on true
left join postmeter.held h on h.usage_id = c.id
left join postmeter.exempted x on x.usage_id = c.id
left join postmeter.usage_written_off w on w.usage_id = c.id
left join postmeter.destination t on t.id = coalesce(a.destination_id, h.destination_id)
where c.corrected_identity is not null;

do $$
declare
    change     record;
    definition text;
    changed    text;
begin
    for change in
        select * from (values
            ('refuse_usage', '''is more than %s ago; usage of that age is no longer recognised if repeated'', settings.usage_age_max)',
             '''is before %s: usage of that age is no longer recognised if repeated'',
                to_char(greatest((postmeter.clock() at time zone ''UTC'' - settings.usage_age_max) at time zone ''UTC'',
                        settings.identities_from) at time zone ''UTC'',
                        ''YYYY-MM-DD"T"HH24:MI:SS"Z"''))'),
            ('recalculate', '(select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity) as corrected_id',
             'u.corrected_id'),
            ('recount_ways', 'from postmeter.usage_identity i join postmeter.usage x on x.id = i.usage_id
            where i.identity = u.corrected_identity offset 0) o on u.corrected_identity is not null',
             'from postmeter.usage x where x.id = u.corrected_id offset 0) o on u.corrected_id is not null'),
            -- an event id that was forgotten may name another usage
            ('return_marked', 'c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)',
             'c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id) and c.corrected_id = u.id'),
            ('return_exempted', 'c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id)',
             'c.corrected_identity = postmeter.usage_identity_of(u.source, u.event_id) and c.corrected_id = u.id'),
            ('refuse_other_content', 'An event id names one usage for ever.', 'An event id names one usage.'),
            ('return_marked', '(select i.usage_id from postmeter.usage_identity i where i.identity = u.corrected_identity)',
             'u.corrected_id')
        ) c(name, before, after)
    loop
        select pg_get_functiondef(p.oid) into strict definition
        from pg_proc p where p.pronamespace = 'postmeter'::regnamespace and p.proname = change.name;
        changed := replace(definition, change.before, change.after);
        if changed = definition then
            raise exception '% is not as this migration knows it', change.name;
        end if;
        execute changed;
    end loop;
end
$$;

-- squawk-ignore ban-drop-function -- only the trigger called them
drop function postmeter.id_window();
-- squawk-ignore ban-drop-function
drop function postmeter.usage_content_of(text, text, text, numeric, timestamptz, text, text);
-- squawk-ignore ban-drop-table -- what older programs ask it stands in the one that takes its place
drop table postmeter.usage_identity;
-- squawk-ignore renaming-table -- nobody knows this name
alter table postmeter.identity_next rename to usage_identity;
-- squawk-ignore renaming-object -- nor this one
alter table postmeter.usage_identity rename constraint identity_next_pkey to usage_identity_pkey;
comment on table postmeter.usage_identity is
    'Which usages were recorded: the younger of two generations of identities, each kept for as long as a usage of its time could be recorded again.';
comment on column postmeter.usage_identity.source is 'See usage.source.';
comment on column postmeter.usage_identity.event_id is 'See usage.event_id.';
comment on column postmeter.usage_identity.usage_id is 'The usage.';
comment on column postmeter.usage_identity.identity is
    'Of a usage that was corrected, the hash by which programs before 0057 find it (postmeter.usage_identity_of).';
comment on table postmeter.usage_identity_before is 'The older generation of identities: nothing is added to it, and it is dropped as a whole.';
comment on column postmeter.usage_identity_before.source is 'See usage_identity.source.';
comment on column postmeter.usage_identity_before.event_id is 'See usage_identity.event_id.';
comment on column postmeter.usage_identity_before.usage_id is 'The usage.';
grant select on postmeter.usage_identity, postmeter.usage_identity_before, postmeter.identity_generation
    to postmeter_reader, postmeter_operator, postmeter_worker;

create function postmeter.usage_of(source text, event_id text) returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
begin
    -- by name: the tables are others after each turn
    return coalesce(
        (select i.usage_id from postmeter.usage_identity i
         where i.source = usage_of.source and i.event_id = usage_of.event_id),
        (select i.usage_id from postmeter.usage_identity_before i
         where i.source = usage_of.source and i.event_id = usage_of.event_id));
end
$$;
comment on function postmeter.usage_of(text, text) is
    'The usage that was recorded under a source and event id; null: none, or so long ago that its identity was forgotten.';
revoke execute on function postmeter.usage_of(text, text) from public;
grant execute on function postmeter.usage_of(text, text) to postmeter_reader, postmeter_operator, postmeter_worker;

create function postmeter.identities_overdue(out began_at timestamptz, out overdue interval)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    perform postmeter.check_generation();
    -- Usage is recorded a day ahead at most (setting_usage_lead_bound; two, to be sure of any interval and zone). So what the
    -- older generation knows is too old to be recorded again once the younger one has lasted for that and the age taken.
    select g.began_at, postmeter.clock() - ((g.began_at at time zone 'UTC' + s.usage_age_max) at time zone 'UTC' + interval '48 hours')
    into strict began_at, overdue
    from postmeter.identity_generation g, postmeter.setting s;
end
$$;
comment on function postmeter.identities_overdue() is
    'When the younger generation of identities began, and for how long it could have taken its turn; below zero: not yet.';
revoke execute on function postmeter.identities_overdue() from public;

create function postmeter.turn_identities() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
    began   timestamptz;
    overdue interval;
    forgets boolean;
begin
    if not postmeter.try_gate('turn_identities') then
        return false;
    end if;
    select t.began_at, t.overdue into began, overdue from postmeter.identities_overdue() t;
    if overdue < '0' then
        return false;
    end if;
    -- Who waits for a lock makes others wait behind it: for a moment at first, longer once it has failed for hours, and less
    -- than Postgres takes to look for a deadlock.
    perform set_config('lock_timeout', least(500, 100 + 10 * extract(epoch from overdue) / 3600)::integer::text, true);
    begin
        perform from postmeter.setting s for update;
        -- Whoever records takes this one first, and keeps it: who has begun is waited for, who comes waits and reads anew.
        lock table postmeter.identity_generation in access exclusive mode;
        lock table postmeter.usage_identity, postmeter.usage_identity_before in access exclusive mode;
    exception when lock_not_available or deadlock_detected then
        return false;
    end;
    -- by now another may have done it; and one whose snapshot is older sees no row, and must not
    select t.began_at, t.overdue into began, overdue from postmeter.identities_overdue() t;
    if overdue < '0' then
        return false;
    end if;
    select exists (select from postmeter.usage_identity_before) into forgets;
    drop table postmeter.usage_identity_before;
    alter table postmeter.usage_identity rename to usage_identity_before;
    alter table postmeter.usage_identity_before rename constraint usage_identity_pkey to usage_identity_before_pkey;
    drop index postmeter.usage_identity_corrected;
    create table postmeter.usage_identity (like postmeter.usage_identity_before including comments);
    alter table postmeter.usage_identity add constraint usage_identity_pkey primary key (source, event_id);
    create index usage_identity_corrected on postmeter.usage_identity (identity) where identity is not null;
    alter table postmeter.usage_identity_before drop column identity;
    execute format('comment on table postmeter.usage_identity is %L',
                   obj_description('postmeter.usage_identity_before'::regclass, 'pg_class'));
    comment on table postmeter.usage_identity_before is
        'The older generation of identities: nothing is added to it, and it is dropped as a whole.';
    grant select on postmeter.usage_identity to postmeter_reader, postmeter_operator, postmeter_worker;
    truncate postmeter.identity_generation;
    insert into postmeter.identity_generation (began_at) values (postmeter.clock());
    if forgets then
        update postmeter.setting s set identities_from = greatest(s.identities_from, began + interval '48 hours');
    end if;
    return true;
end
$$;
comment on function postmeter.turn_identities() is
    'Begins a new generation of identities and drops the older one, once nothing that it knows could be recorded again; true: it did. Waits 100 ms for each of its locks, after hours in vain up to 500 ms; the next call tries again.';
revoke execute on function postmeter.turn_identities() from public;
grant execute on function postmeter.turn_identities() to postmeter_worker;
insert into postmeter.gate (name) values ('turn_identities');

-- the door --------------------------------------------------------------------------------------------------------------

create or replace function postmeter.outbox_arrived() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    settings     postmeter.setting;
    now          timestamptz;
    oldest       timestamptz;
    latest       timestamptz;
    recorded     bigint;
    fresh        bigint := 0;
    corrected    uuid[];
    foreign_time boolean;
    -- An id says when its row was recorded: the months of the ledger, and what looks for rows that wait, are ranges of ids.
    -- Between these lie those that the running statement makes.
    first_id     uuid := postmeter.id_at(statement_timestamp() - interval '1 hour');
    last_id      uuid := postmeter.id_at(clock_timestamp() + interval '1 hour');
    bad          record;
    fault        text;
    shards       smallint[];
    repeats      uuid[];
    repeated     record;
    other        uuid;
begin
    -- the generation first: what is read with it and after it is no older (postmeter.turn_identities)
    select s.* into settings from postmeter.identity_generation g, postmeter.setting s;
    if not found then
        perform postmeter.check_generation();
        select s.* into strict settings from postmeter.identity_generation g, postmeter.setting s;
    end if;
    -- what postmeter.clock() says, without asking for the row at hand again; days are days of UTC, whatever the session's are
    now := coalesce(settings.clock_frozen, clock_timestamp() + settings.clock_shift);
    oldest := greatest((now at time zone 'UTC' - settings.usage_age_max) at time zone 'UTC', settings.identities_from);
    latest := (now at time zone 'UTC' + settings.usage_lead_max) at time zone 'UTC';
    select count(*), max(postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric, a.quantity,
                a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                oldest, latest)),
           array_agg(a.id) filter (where a.corrects is not null), bool_or(a.id < first_id or a.id > last_id)
    into recorded, fault, corrected, foreign_time
    from arrived a
    where not a.returned;
    if recorded = 0 then
        return null;
    end if;
    if fault is not null then
        select a.event_id, f.fault into bad
        from arrived a, lateral (select postmeter.usage_fault(a.source, a.event_id, a.org, a.product, a.metric,
                a.quantity, a.used_at, a.account, a.corrects, a.request_id, a.traceparent, a.attributes,
                oldest, latest)) f(fault)
        where not a.returned and f.fault is not null limit 1;
        perform postmeter.refuse_usage(bad.fault, bad.event_id);
    end if;
    if foreign_time then
        raise exception 'usage: id is not of this time'
            using errcode = 'PM001', schema = 'postmeter', table = 'outbox', column = 'id', constraint = 'id_of_this_time',
                  hint = 'Leave id out: the database gives it.';
    end if;
    -- Sorted, so that two batches with the same identities wait for each other instead of deadlocking. Most usages are
    -- new: they are just inserted, and only if one is not, each is looked at. One alone is not worth a subtransaction,
    -- of which 64 make every snapshot dearer.
    if recorded > 1 then
        begin
            insert into postmeter.usage_identity (source, event_id, usage_id)
            select a.source, a.event_id, a.id
            from arrived a
            where not a.returned
              and (select b.usage_id from postmeter.usage_identity_before b
                   where b.source = a.source and b.event_id = a.event_id) is null
            order by a.source collate "C", a.event_id collate "C", a.id;
            get diagnostics fresh = row_count;
            if fresh < recorded then
                raise unique_violation;
            end if;
        exception when unique_violation then
            fresh := 0;
        end;
    end if;
    if fresh = 0 then
        -- of an identity that stands twice in this statement, the first stays
        insert into postmeter.usage_identity (source, event_id, usage_id)
        select a.source, a.event_id, a.id
        from arrived a
        where not a.returned
          and coalesce((select i.usage_id from postmeter.usage_identity i
                        where i.source = a.source and i.event_id = a.event_id),
                       (select b.usage_id from postmeter.usage_identity_before b
                        where b.source = a.source and b.event_id = a.event_id)) is null
        order by a.source collate "C", a.event_id collate "C", a.id
        on conflict do nothing;
        get diagnostics fresh = row_count;
    end if;
    if fresh < recorded then
        -- whoever recorded must look up which ids stand; otherwise they are the rows' own
        perform set_config('postmeter.repeated', 'on', true);
        -- A statement of its own: this one sees the rows that the racing insert waited for. Of an identity that stands
        -- more than once in this statement, each is compared with the one before it.
        select array_agg(r.shard), array_agg(r.id), (array_agg(r.id) filter (where r.is_same is not true))[1]
        into shards, repeats, other
        from (
            select k.shard, k.id, k.standing,
                   case when lag(k.id) over same is not null then k.content = lag(k.content) over same
                        else (select k.content = row(u.org, u.product, u.metric, u.quantity, u.used_at, u.account,
                                                     u.corrects)
                              from postmeter.usage u where u.id = k.standing) end as is_same
            from (select a.shard, a.id, a.source, a.event_id, row(a.org, a.product, a.metric, a.quantity, a.used_at,
                         a.account, a.corrects) as content,
                         postmeter.usage_of(a.source, a.event_id) as standing
                  from arrived a where not a.returned offset 0) k
            window same as (partition by k.standing order by k.standing <> k.id, k.id)
        ) r
        where r.standing <> r.id;
        if other is not null then
            -- What was recorded is not the caller's to read, and a value in a variable is: any session may have its plans
            -- printed (debug_print_plan), with what their parameters hold. Only names leave this statement.
            select a.source, a.event_id, case when f.found then array_remove(array[
                       case when f.org <> a.org then 'org' end, case when f.product <> a.product then 'product' end,
                       case when f.metric <> a.metric then 'metric' end,
                       case when f.quantity <> a.quantity then 'quantity' end,
                       case when f.used_at <> a.used_at then 'used_at' end,
                       case when f.account is distinct from a.account then 'account' end,
                       case when f.corrects is distinct from a.corrects then 'corrects' end], null) end as fields
            into bad
            from (select x.*, postmeter.usage_of(x.source, x.event_id) as first_id
                  from arrived x where x.id = other offset 0) a
            left join lateral (
                select true as found, u.org, u.product, u.metric, u.quantity, u.used_at, u.account, u.corrects
                from postmeter.usage u where u.id = a.first_id
                union all
                select true, y.org, y.product, y.metric, y.quantity, y.used_at, y.account, y.corrects
                from arrived y
                where y.source = a.source and y.event_id = a.event_id
                  and (y.org, y.product, y.metric, y.quantity, y.used_at, y.account, y.corrects) is distinct from
                      (a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects)
                limit 1) f on true;
            perform postmeter.refuse_other_content(bad.source, bad.event_id, bad.fields);
        end if;
        -- one by one: a set of ids would be a filter on its shard in a plan that was made over a small outbox
        for repeated in select r.shard, r.id from unnest(shards, repeats) r(shard, id) loop
            delete from postmeter.outbox o where o.shard = repeated.shard and o.id = repeated.id;
        end loop;
    end if;
    if fresh > 0 then
        insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, account, corrects,
                                     corrected_identity, corrected_id, request_id, traceparent, attributes, recorded_at)
        select a.id, a.source, a.event_id, a.org, a.product, a.metric, a.quantity, a.used_at, a.account, a.corrects,
               case when a.corrects is not null then postmeter.usage_identity_of(a.source, a.corrects) end,
               case when a.corrects is not null then postmeter.usage_of(a.source, a.corrects) end,
               a.request_id, a.traceparent, a.attributes, now
        from arrived a
        where not a.returned and (fresh = recorded or a.id = postmeter.usage_of(a.source, a.event_id));
    end if;
    if corrected is not null then
        perform postmeter.check_corrections(corrected);
    end if;
    if settings.unresolved = 'refuse' then
        perform postmeter.check_resolved(array(select a.id from arrived a where not a.returned and a.corrects is null));
    end if;
    return null;
end
$$;
comment on function postmeter.outbox_arrived() is 'Trigger of the outbox: checks what arrived, writes identity and usage, drops identical repetitions, refuses the same id with other content (PM002).';

create function postmeter.check_generation() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from postmeter.identity_generation) then
        raise exception 'identities were turned after this transaction had taken its snapshot'
            using errcode = '40001', hint = 'Begin it again: nothing of it was recorded.';
    end if;
end
$$;
comment on function postmeter.check_generation() is
    'Raises 40001 for a transaction whose snapshot is older than the present generation of identities: it cannot see what was recorded since.';
revoke execute on function postmeter.check_generation() from public;

-- corrections -----------------------------------------------------------------------------------------------------------

create or replace function postmeter.check_corrections(corrected uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
    set plan_cache_mode = force_generic_plan
as $$
declare
    corrected_ids uuid[];
    bad           record;
begin
    -- corrected: the usages that correct; those that only repeat an earlier one are not in postmeter.usage
    corrected_ids := array(select distinct u.corrected_id from postmeter.usage u
                           where u.id = any (corrected) and u.corrected_id is not null);
    perform postmeter.lock_corrected(corrected_ids);
    -- a later statement than the last lock, which sees what others committed while we waited;
    -- scalar and lateral sub-selects with a fence: look-ups by key, which no plan of another day turns into a scan
    select p.* into bad
    from (
        select c.id, c.source, c.event_id, c.corrects, case
            -- itself, or earlier corrections of it, would be missing in the sum
            when c.corrected_id is not null and exists (
                select from postmeter.ledger_drop d
                where d.month >= date_trunc('month', postmeter.moment_of(c.corrected_id) at time zone 'UTC')::date)
                then 'dropped'
            when o.id is null then 'unknown'
            when o.corrects is not null then 'correction'
            when (o.org, o.product, o.metric, o.account) is distinct from (c.org, c.product, c.metric, c.account)
                then 'meter'
            when date_trunc('month', o.used_at, 'UTC') <> date_trunc('month', c.used_at, 'UTC') then 'month'
            end as problem
        from (select u.id, u.source, u.event_id, u.corrects, u.org, u.product, u.metric, u.account, u.used_at,
                     u.corrected_id
              from postmeter.usage u where u.id = any (corrected) offset 0) c
        left join lateral (select u.* from postmeter.usage u where u.id = c.corrected_id offset 0) o on true
    ) p
    where p.problem is not null
    order by p.id desc
    limit 1;
    if not found then
        select c.id, c.source, c.event_id, c.corrects, 'below_zero' as problem into bad
        from (select k.id as corrected_id,
                     (select o.quantity
                             + (select sum(x.quantity) from postmeter.usage x
                                where x.corrected_identity = postmeter.usage_identity_of(o.source, o.event_id)
                                  and x.corrected_id = o.id)
                      from postmeter.usage o where o.id = k.id) as rest
              from unnest(corrected_ids) k(id) offset 0) s
        join lateral (select u.* from postmeter.usage u
                      where u.id = any (corrected) and u.corrected_id = s.corrected_id
                      order by u.id desc limit 1) c on true
        where s.rest < 0
        limit 1;
    end if;
    if found then
        raise exception 'usage %: corrects % %', quote_literal(bad.event_id), quote_literal(bad.corrects),
            case bad.problem
            when 'dropped' then 'names usage whose month of the ledger, or a later one, was dropped'
            when 'unknown' then (
                select format('names no usage of source %L', bad.source)
                       || case when isfinite(s.identities_from)
                               then format(' that was used since %s: what is older is no longer known by its event id',
                                           to_char(s.identities_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
                               else '' end
                from postmeter.setting s)
            when 'correction' then 'names a correction; correct the usage itself'
            when 'meter' then 'has another org, product, metric or account'
            when 'month' then 'is usage of another month; use its used_at'
            else 'would bring that usage below zero' end
            using errcode = case bad.problem when 'unknown' then 'PM003' when 'below_zero' then 'PM004'
                            else 'PM001' end,
                  schema = 'postmeter', table = 'outbox', column = 'corrects',
                  constraint = 'corrects_' || bad.problem;
    end if;
end
$$;
comment on function postmeter.check_corrections(uuid[]) is
    'Given the ids of usages that correct: refuses corrections of the unknown (PM003), below zero (PM004), of another meter or month, or of what may have been dropped (PM001). Locks the identities of what they correct in sorted order.';

create function postmeter.lock_corrected(usage_ids uuid[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    sources text[];
    events  text[];
begin
    select array_agg(k.source order by k.source collate "C", k.event_id collate "C"),
           array_agg(k.event_id order by k.source collate "C", k.event_id collate "C")
    into sources, events
    from unnest(usage_ids) n(id)
    cross join lateral (select u.source, u.event_id from postmeter.usage u where u.id = n.id offset 0) k;
    perform 1 from (
        select k.source, k.event_id from unnest(sources, events) with ordinality k(source, event_id, item) order by k.item
    ) k
    cross join lateral (select from postmeter.usage_identity i
                        where i.source = k.source and i.event_id = k.event_id for no key update) l;
    perform 1 from (
        select k.source, k.event_id from unnest(sources, events) with ordinality k(source, event_id, item) order by k.item
    ) k
    cross join lateral (select from postmeter.usage_identity_before i
                        where i.source = k.source and i.event_id = k.event_id for no key update) l;
    -- a write, not only a lock: under REPEATABLE READ the next correction then fails with 40001 instead of adding up
    -- without the sums that its snapshot hides
    update postmeter.usage_identity i set identity = postmeter.usage_identity_of(k.source, k.event_id)
    from unnest(sources, events) k(source, event_id)
    where i.source = k.source and i.event_id = k.event_id;
    update postmeter.usage_identity_before i set usage_id = i.usage_id
    from unnest(sources, events) k(source, event_id)
    where i.source = k.source and i.event_id = k.event_id;
end
$$;
comment on function postmeter.lock_corrected(uuid[]) is
    'Locks the identities of usages that are corrected, in sorted order, in either generation, and writes them, so that one correction of a usage is checked at a time.';
revoke execute on function postmeter.lock_corrected(uuid[]) from public;

insert into postmeter.migration (version, name) values (57, '0057_pre_identities');
