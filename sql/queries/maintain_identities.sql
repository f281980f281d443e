-- maintain_identities: begins a new generation of identities and drops the oldest, when that is due.
select postmeter.turn_identities()
