-- catalogue_last_mark: the last mark that an edit of the catalogue has left so far.
select coalesce(pg_catalog.max(c.id), 0) as last from postmeter.catalogue_mark c
