-- stuck_move: moves those of these dead letters that may move without a person now; whoever runs it holds their meters.
-- $1 deliveries.
select postmeter.reconsider($1) as moved
