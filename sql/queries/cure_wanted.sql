-- cure_wanted: the last change of the catalogue after which more usage was held than it could look at; null: none.
select max(c.id) as last from postmeter.cure c
