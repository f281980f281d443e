-- On which server the installation stands.

create table postmeter.installation (
    only_row   boolean     default true primary key check (only_row),
    name       text        check (name <> ''),
    server     text,
    timeline   text,
    position   pg_lsn,
    is_copy    boolean     not null default false,
    settled_at timestamptz,
    constraint installation_settled
        check (((server is null) = (settled_at is null)) and ((server is null) = (timeline is null))
            and ((server is null) = ("position" is null)))
);
comment on table postmeter.installation is
    'Which installation this database is, and on which server it was so: a copy brings this row along, and stands '
    'elsewhere. Written when a worker starts for the first time, when one that remembers proves a failover, and by '
    'declare_installation.';
comment on column postmeter.installation.only_row is 'Always true: there is one row.';
comment on column postmeter.installation.name is
    'The name that workers bring (their setting installation); null: none has brought one.';
comment on column postmeter.installation.server is
    'Identity of server and database: server_identity() when it was settled. Null: nobody has worked here yet.';
comment on column postmeter.installation.timeline is 'The server''s timeline that was proven last.';
comment on column postmeter.installation.position is 'Where it stood then.';
comment on column postmeter.installation.is_copy is 'A person said that this is a copy: nothing is sent from here.';
comment on column postmeter.installation.settled_at is 'When that was settled last; the server''s time.';

create function postmeter.installation_doubt() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    i   postmeter.installation;
    now text := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
begin
    select x.* into i from postmeter.installation x;
    return case
        when i.server is null then null
        when i.is_copy then 'this database was declared a copy'
        when i.server <> postmeter.server_identity()
            then
                format('this database was copied or restored: its installation stands at server/database %s, and '
                    'this is %s', i.server, postmeter.server_identity())
        when i.timeline <> now
            then
                format('the server is on timeline %s and was on %s, and no worker that remembers its last commits '
                    'has found them here', now, i.timeline)
        when i.position > pg_current_wal_insert_lsn()
            then format('the server stands at %s and stood at %s', pg_current_wal_insert_lsn(), i.position) end;
end
$$;
comment on function postmeter.installation_doubt() is
    'Why nobody knows whether this database is the installation: then nothing is claimed, until a person has '
    'declared what it is. Null: it is.';

create function postmeter.settle_installation(name text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    known text;
begin
    update postmeter.installation i
    set server = postmeter.server_identity(), timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
        position = pg_current_wal_flush_lsn(), settled_at = clock_timestamp()
    where i.server is null;
    update postmeter.installation i set name = settle_installation.name where i.name is null
        and settle_installation.name is not null;
    select i.name into known from postmeter.installation i;
    return case
        when known is null or known = settle_installation.name then null
        when settle_installation.name is null
            then
            format('this database serves the installation %s, and this worker was not told which one it serves: set '
                'installation in section [worker]', quote_literal(known))
        else format('this database serves the installation %s, and this worker is configured for %s',
            quote_literal(known), quote_literal(settle_installation.name)) end;
end
$$;
comment on function postmeter.settle_installation(text) is
    'A worker starts, for the installation of this name (null: none was configured). The first one settles on '
    'which server the installation is, the first name what it is called. Returns why this worker must not send '
    'from here; null: it may.';

create function postmeter.installation_went_on(seen text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update postmeter.installation i
    set timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), position = pg_current_wal_flush_lsn(),
        settled_at = clock_timestamp()
    where i.server = postmeter.server_identity() and not i.is_copy and i.timeline = seen
      and i.timeline <> substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
$$;
comment on function postmeter.installation_went_on(text) is
    'A worker that remembers the last commits of this timeline, and saw them before a failover, has looked for '
    'them here: they are all there, or it has noted the break. Only on the very server and database that the '
    'installation was settled at.';

create function postmeter.declare_installation(
    what text, who text, why text, nothing_lost boolean default false, name text default null
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    i     postmeter.installation;
    doubt text;
    t     text;
begin
    perform postmeter.check_decider(who, why);
    if what is null or what not in ('original', 'copy') then
        raise exception 'an installation cannot be declared %', coalesce(quote_literal(what), 'null')
            using errcode = 'PM037', column = 'what', constraint = 'installation_what',
                hint = 'original: workers send from here; copy: nobody does.';
    end if;
    select x.* into i from postmeter.installation x for update;
    doubt := postmeter.installation_doubt();
    if (what = 'copy' and i.is_copy or what = 'original' and doubt is null) and (name is null or name = i.name) then
        return false;
    end if;
    if what = 'original' and doubt is not null and not nothing_lost then
        perform postmeter.timeline_went_back(who, why);
        -- known already, if this server has noted a break before: what is not paused for it is paused now
        for t in select d.name from postmeter.destination d where not d.paused order by d.id loop
            perform postmeter.set_paused(t, true, who, why);
        end loop;
    end if;
    update postmeter.installation x
    set name = coalesce(declare_installation.name, x.name), server = postmeter.server_identity(),
        position = pg_current_wal_flush_lsn(),
        timeline = substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), is_copy = what = 'copy',
            settled_at = clock_timestamp();
    insert into postmeter.decision (who, why, verb, status_before, status_after, detail)
    values (who, why, 'declare', case when i.is_copy then 'copy' when doubt is null then 'original'
        else 'unclear' end, what,
            jsonb_strip_nulls(jsonb_build_object('doubt', doubt, 'server', i.server, 'nothing_lost', nothing_lost,
                'name', coalesce(name, i.name))));
    return true;
end
$$;
comment on function postmeter.declare_installation(text, text, text, boolean, text) is
    'A person says what this database is. copy: nothing is sent from here. original: it is the installation, on '
    'this server from now on; unless nothing was lost, what may have been sent since it was copied counts as '
    'possibly attempted, and every destination is paused until it is resumed (timeline_went_back). A name renames '
    'it. False: it was so already.';
