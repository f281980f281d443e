-- fold_deaths: workers that died lately while they folded. The more, the smaller the folds, until one row is left.
select count(*) as deaths
from postmeter.worker w
where w.folding is not null and w.reaped_at > clock_timestamp() - interval '10 minutes'
