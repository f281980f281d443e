-- marked_behind_exempt: usage that is exempt by the exemptions of these marks and that the catalogue counts by now.
-- $1 marks, $2 at most so many. Relies on exempted_by_exemption.
select x.usage_id, x.org from postmeter.marked_exempt($1) x order by x.usage_id limit $2
