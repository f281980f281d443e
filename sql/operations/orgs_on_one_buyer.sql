-- Which orgs are billed together, under one key?
--
-- Buyers (the key without dimension and hour) that subscriptions of several orgs, products or accounts name at the same
-- time: their usage is one remittance an hour, rounded once, and the marketplace shows them as one customer. It is
-- right where they buy through one marketplace account, and a mistake of the catalogue where they do not.
--
-- Parameters: none.
--   psql -f sql/operations/orgs_on_one_buyer.sql
--
--  destination |               buyer                |      orgs      | subscriptions |    since_both_valid
-- -------------+------------------------------------+----------------+---------------+------------------------
--  aws         | aws/us-east-1/prod-db/111122223333 | {acme,initech} | {1,3}         | 2024-01-01 00:00:00+00
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- orgs_on_one_buyer
select t.name as destination, a.buyer, array_agg(distinct x.org order by x.org) as orgs,
       array_agg(distinct x.id order by x.id) as subscriptions,
       max(greatest(a.valid_from, b.valid_from)) as since_both_valid
from postmeter.subscription a
join postmeter.subscription b on b.destination_id = a.destination_id and b.buyer = a.buyer and b.id > a.id
 and (b.org, b.product, b.account) is distinct from (a.org, a.product, a.account)
 and a.valid_from < coalesce(b.valid_until, 'infinity') and b.valid_from < coalesce(a.valid_until, 'infinity')
join postmeter.destination t on t.id = a.destination_id
cross join lateral (values (a.org, a.id), (b.org, b.id)) x(org, id)
group by t.name, a.buyer
order by t.name, a.buyer;
commit;
