-- fold_has_others: whether entries are to be left out of the ordinary folds. It names every side table that fold_pick_others
-- reads, so that it says at once if that would have to wait. Relies on setback_pkey.
select exists (select from postmeter.setback b where b.step = 'fold') or exists (select from postmeter.suspect_range)
    or exists (select from postmeter.suspect) as has_others
