-- 0061_pre_turns: whoever looks after a database can ask whether a turn of identities is overdue.
-- programs: from 0022
-- lock: none

grant execute on function postmeter.identities_overdue(), postmeter.check_generation()
    to postmeter_reader, postmeter_operator, postmeter_worker;

insert into postmeter.migration (version, name) values (61, '0061_pre_turns');
