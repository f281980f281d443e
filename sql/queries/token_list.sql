-- token_list: every token ever made, without its hash.
select t.id, t.name, t.scopes, t.org, t.created_at, t.created_by, t.revoked_at, t.revoked_by
from postmeter.token_list t
order by t.name
