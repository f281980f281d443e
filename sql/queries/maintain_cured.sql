-- maintain_cured: held usage whose reason the catalogue can cure; a fold and a catalogue change can miss each other.
-- $1 at most so many, $2 only usage after this one.
select h.usage_id, h.org
from postmeter.held h
where h.usage_id > $2
  and h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription', 'month_closed',
                   'implausible')
order by h.usage_id
limit $1
