-- report_dropped_remittance: with which billing month a remittance was dropped, as a sentence goes on; null: with none.
-- $1 its number.
select postmeter.told_dropped($1) as told
