-- token_find: the token with this hash, unless it was revoked.
-- $1 SHA-256 of the token. Relies on token_hash_key.
select t.id, t.name, t.scopes, t.org
from postmeter.token t
where t.hash = $1 and t.revoked_at is null
