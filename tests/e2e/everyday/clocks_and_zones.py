import datetime, time, zoneinfo
print(time.tzname, datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset(), 2025 < time.gmtime().tm_year < 2100)
