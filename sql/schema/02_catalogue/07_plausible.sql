-- Since when the silent hours of a dimension are reported.

create function postmeter.note_zero_since() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.zero <> 'send' then
        new.zero_since := null;
    elsif tg_op = 'INSERT' then
        new.zero_since := coalesce(new.zero_since, postmeter.clock());
    elsif old.zero <> 'send' then
        new.zero_since := postmeter.clock();
    end if;
    return new;
end
$$;
comment on function postmeter.note_zero_since() is
    'Trigger: notes since when the silent hours of a dimension are reported.';
create trigger zero_since before insert or update on postmeter.dimension
    for each row execute function postmeter.note_zero_since();
