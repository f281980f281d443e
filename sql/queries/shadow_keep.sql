-- shadow_keep: puts back what a shadow did not count, with the reason; without one, because its hour was cut meanwhile.
-- $1 destination, $2 usages, $3 orgs, $4 products, $5 metrics, $6 accounts, $7 quantities, $8 hours, $9 reasons,
-- $10 the usages that they correct.
insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, account, quantity, hour, reason,
                                    corrected_id)
select $1, u.* from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) u
