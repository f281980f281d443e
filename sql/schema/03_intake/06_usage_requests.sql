-- Finding usage by its request id.

create function postmeter.requests_indexed() returns boolean
language sql stable set search_path = pg_catalog, pg_temp
return to_regclass('postmeter.usage_request') is not null;
comment on function postmeter.requests_indexed() is
    'Whether usage is found by its request id (postmeter.index_requests).';

create function postmeter.index_requests(wanted boolean) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if wanted = postmeter.requests_indexed() then
        return false;
    elsif wanted then
        create index if not exists usage_request on postmeter.usage (postmeter.request_key_of(request_id))
            where request_id is not null;
    else
        drop index if exists postmeter.usage_request;
    end if;
    return true;
end
$$;
comment on function postmeter.index_requests(boolean) is
    'Creates (true) or drops (false) the index by which a request''s usage is found, for the owner of the schema; '
    'true if that changed anything. Nothing is recorded while it runs: creating takes seconds for each million '
    'usages that name a request. Without the index recording is cheaper and postmeter.request_steps returns '
    'nothing.';
