-- catalogue_sign: writes down who applied a catalogue, and why.
-- $1 who, $2 why, $3 what changed.
select postmeter.sign_catalogue($1, $2, $3)
