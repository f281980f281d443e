-- fold_held_off: remittances for which a cut waits, live or of a shadow: no fold shares their locks meanwhile.
-- Relies on setback_pkey.
select b.member::bigint as id
from postmeter.setback b
where b.step in ('cut', 'shadow_cut') and b.held_off_until > clock_timestamp()
