-- suspects: destinations with due deliveries that were in the hands of a dying worker. Relies on delivery_suspects.
select distinct d.destination_id from postmeter.delivery d where d.deaths > 0 and d.status = 'due'
