-- report_accepted: every accepted remittance by its key, to compare with the marketplace's own record.
select r.key, pg_catalog.trim_scale(r.quantity)::text as quantity from postmeter.remittance r where r.status = 'accepted' order by r.key
