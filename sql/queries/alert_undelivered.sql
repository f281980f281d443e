-- alert_undelivered: the post that waits and has failed at least once.
-- Relies on alert_post_waiting.
select p.made_at, p.tries, coalesce(p.error, 'no answer yet') as error from postmeter.alert_post p
where p.posted_at is null and p.tries > 1
order by p.number limit 1
