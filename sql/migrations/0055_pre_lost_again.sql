-- 0055_pre_lost_again: a loss of commits in another database is another loss; late usage that is recorded again after one waits for a person too.
-- programs: from 0022
-- lock: access exclusive on timeline_break, grows with its rows: a column more, and what tells one loss from another; a row is a loss

-- a dump that is restored on a server that has noted a loss since it started brings that very row along: what was lost since
-- the dump was known already, and nothing was asked about
alter table postmeter.timeline_break add column server text collate "C";
update postmeter.timeline_break b
set server = coalesce((select i.server from postmeter.installation i), postmeter.server_identity())
where b.server is null;
-- squawk-ignore adding-not-nullable-field
alter table postmeter.timeline_break alter column server set not null, alter column server set default postmeter.server_identity();
-- squawk-ignore ban-drop-constraint
alter table postmeter.timeline_break drop constraint timeline_break_timeline_server_started_at_key;
-- squawk-ignore constraint-missing-not-valid, disallowed-unique-constraint
alter table postmeter.timeline_break add constraint timeline_break_is_one unique (server, timeline, server_started_at);
comment on column postmeter.timeline_break.server is 'On which server and in which of its databases (server_identity): a dump that is restored elsewhere brings the losses of before along, and is a loss of its own.';
comment on column postmeter.timeline_break.server_started_at is 'When this server started: with server and timeline, what many workers notice at once is one break.';

-- services record again what was lost: it may have been late in the lost time, and billed with another hour
create or replace function postmeter.recorded_before_loss(usages uuid[], destinations integer[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    with broken as materialized (select postmeter.broken_at() as at)
    select u.id
    from unnest(usages, destinations) g(id, destination_id)
    join postmeter.destination t on t.id = g.destination_id and t.shadow_of is null
    join postmeter.usage u on u.id = g.id
    where (select b.at from broken b) is not null
      -- a correction goes where its usage stands
      and (u.recorded_at <= (select b.at from broken b)
           or u.corrects is null and postmeter.hour_of(u.used_at) + interval '1 hour' <= (select b.at from broken b))
      and not exists (select from postmeter.asked_usage a where a.usage_id = g.id and a.asked_at >= (select b.at from broken b))
$$;
comment on function postmeter.recorded_before_loss(uuid[], integer[]) is
    'Which of these usages, too late for their own hours, were recorded before commits were lost, or are of an hour that was over by then and may have been recorded in the time that was lost: they may have been billed with another hour in that time, and nobody has said yet that they were not. Without a loss it reads nothing else.';

insert into postmeter.migration (version, name) values (55, '0055_pre_lost_again');
