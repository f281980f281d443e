-- token_create: keeps a new token by its hash.
-- $1 name, $2 SHA-256 of the token, $3 scopes, $4 org or null, $5 who.
select postmeter.create_token($1, $2, $3, $4, $5)
