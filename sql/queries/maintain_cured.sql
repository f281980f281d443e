-- maintain_cured: sends back held usage whose reason no longer holds; a fold and a catalogue change can miss each other.
-- $1 at most so many.
select postmeter.return_cured($1)
