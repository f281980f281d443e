-- installation_went_on: a worker that remembers has proven that the server went on after a failover. $1 the timeline seen last.
select postmeter.installation_went_on($1)
