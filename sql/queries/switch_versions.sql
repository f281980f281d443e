-- switch_versions: which version the rules of each destination have now.
select t.id, t.version from postmeter.destination t
