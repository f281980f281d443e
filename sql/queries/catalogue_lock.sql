-- catalogue_lock: one edit of the catalogue at a time, until the transaction ends.
select postmeter.catalogue_gate()
