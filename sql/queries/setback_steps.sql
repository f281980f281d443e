-- setback_steps: the steps of which something is noted.
select distinct s.step from postmeter.setback s order by s.step
