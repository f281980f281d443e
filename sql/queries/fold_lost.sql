-- fold_lost: which of these usages, too late for their own hours, were recorded before commits were lost, or are of an hour that
-- was over by then and may have been recorded in the lost time: they may have been billed with another hour.
-- $1 usages, $2 where each is owed. Relies on usage's and asked_usage's primary keys; without a loss it reads one small table.
select l.id from postmeter.recorded_before_loss($1, $2) l(id)
