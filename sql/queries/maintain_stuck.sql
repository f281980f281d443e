-- maintain_stuck: moves dead letters that may move without a person.
-- $1 at most so many. Relies on stuck_again.
select postmeter.reconsider_stuck($1)
