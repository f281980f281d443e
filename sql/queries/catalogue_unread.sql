-- catalogue_unread: subscriptions whose identity no marketplace's code has read yet.
select s.id, s.destination_id, s.identity
from postmeter.subscription s
where s.buyer is null and s.invalid is null
order by s.id
limit 1000
