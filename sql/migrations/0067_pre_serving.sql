-- 0067_pre_serving: lists of requests say as of when they are, and do not wait for gathering.
-- programs: from 0022
-- lock: none

create function postmeter.requests_as_of() returns timestamptz
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off
as $$
declare
    floor postmeter.request_floor := postmeter.request_floor_now();
begin
    return coalesce(
        (select n.recorded_at from postmeter.request_news n where (n.xid, n.id) >= (floor.xid, floor.id)
         order by n.xid, n.id limit 1),
        postmeter.clock());
end
$$;
comment on function postmeter.requests_as_of() is
    'As of when requests and their counts are: when the first status was recorded that gather has not counted; if it has counted all, now.';
revoke execute on function postmeter.requests_as_of() from public;
grant execute on function postmeter.requests_as_of() to postmeter_reader, postmeter_operator, postmeter_worker, postmeter_console;

insert into postmeter.migration (version, name) values (67, '0067_pre_serving');
