-- shadow_cured: lets shadows count usage whose reason no longer holds; a fold and a catalogue change can miss each other.
-- $1 at most so many.
select postmeter.return_shadow($1)
