-- report_installation: why nothing is sent from here, if nobody knows what this database is. No parameters.
select postmeter.installation_doubt() as doubt, i.name, i.is_copy from postmeter.installation i
