/*
description: The bar intervals that exist, with their lengths.
grain: one row per interval
columns:
  interval: Name of the interval, as in configuration.
  length: Its length.
tests:
  - unique: [interval]
*/
select *
from (
    values
        ('1m', interval '1 minute'),
        ('5m', interval '5 minutes'),
        ('15m', interval '15 minutes'),
        ('30m', interval '30 minutes'),
        ('1h', interval '1 hour'),
        ('4h', interval '4 hours'),
        ('1d', interval '1 day')
) as named (interval, length)
