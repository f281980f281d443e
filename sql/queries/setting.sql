-- setting: what this database is for.
select s.purpose from postmeter.setting s
