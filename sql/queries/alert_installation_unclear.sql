-- alert_installation_unclear: whether nobody knows that this database is the installation: then nothing is sent.
select '' as subject, 1::bigint as count, pg_catalog.format('nothing is sent: %s', d.doubt) as summary,
       pg_catalog.jsonb_build_object('installation', i.name, 'server', i.server, 'here', postmeter.server_identity()) as details
from postmeter.installation i
cross join (select postmeter.installation_doubt() as doubt) d
-- who was declared a copy is one: that is no news
where d.doubt is not null and not i.is_copy
