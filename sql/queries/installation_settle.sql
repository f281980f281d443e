-- installation_settle: a worker that starts settles which installation this is, or learns that it is another one's.
-- $1 the name that it was configured with; null: none.
select postmeter.settle_installation($1)
