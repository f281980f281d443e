-- fold_exempt: usage of exempt orgs.
-- $1 usages, $2 exemptions.
insert into postmeter.exempted (usage_id, exemption_id)
select * from unnest($1, $2)
