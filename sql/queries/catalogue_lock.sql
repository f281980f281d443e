-- catalogue_lock: one edit of the catalogue at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('postmeter.catalogue', 0))
