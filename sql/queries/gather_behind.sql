-- gather_behind: puts the first status that could not be gathered alone behind all others.
select postmeter.put_request_news_behind() as request_key
