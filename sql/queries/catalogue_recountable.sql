-- catalogue_recountable: dead letters that were sent under an identity which the catalogue does not have in their hour any
-- more, by destination: recount counts them by today's. Relies on subscription_by_buyer.
select t.name as destination, count(*) as remittances
from postmeter.stuck s
join postmeter.delivery d on d.id = s.delivery_id
join postmeter.meter m on m.id = d.meter_id
join postmeter.destination t on t.id = d.destination_id
where d.status in ('rejected', 'held', 'expired') and not d.maybe_billed and not d.shadow
  and not exists (
    select from postmeter.subscription x
    where x.destination_id = d.destination_id and x.buyer = m.buyer and x.identity = d.identity
      and x.valid_from < d.hour + interval '1 hour' and (x.valid_until is null or d.hour < x.valid_until)
  )
group by t.name
order by t.name
