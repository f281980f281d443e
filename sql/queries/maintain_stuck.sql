-- maintain_stuck: moves dead letters that may move without a person.
-- $1 at most so many, $2 of shadows or of live destinations. Relies on stuck_again.
select postmeter.reconsider_stuck($1, $2)
