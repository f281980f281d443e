-- cut_forget: drops what is noted of remittances that are open no more: another worker cut them.
-- $1 step.
delete from postmeter.setback s
where s.step = $1 and not exists (select from postmeter.open_hour o where o.delivery_id::text = s.member)
