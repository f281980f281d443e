-- suspect_take: takes one range of entries that a dying worker had in hand, for this transaction.
select r.id, r.deaths from postmeter.suspect_range r order by r.since, r.id limit 1 for update skip locked
