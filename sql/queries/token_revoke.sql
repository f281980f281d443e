-- token_revoke: revokes a token; false if it was revoked before.
-- $1 name, $2 who.
select postmeter.revoke_token($1, $2)
