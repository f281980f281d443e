-- idempotency_forget: forgets answers that are older than a day, some at a time.
select postmeter.forget_answers()
