-- balance_open_slices: slices of usage that did not add up when they were read last; dropped months have their turn.
select o.first, o.last from postmeter.usage_open o where o.first <> 'carried' order by o.first, o.last
