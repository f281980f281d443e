-- alert_undelivered: the post that waits and has failed at least once, or was given up in the last day.
-- Relies on alert_post_waiting, alert_post_given_up.
select p.made_at, p.tries, coalesce(p.error, 'no answer yet') || case when p.given_up_at is not null then ' (given up)' else '' end as error
from postmeter.alert_post p
where p.posted_at is null and p.tries > 1 and (p.given_up_at is null or p.given_up_at > postmeter.clock() - interval '1 day')
order by p.given_up_at is not null, p.number desc limit 1
