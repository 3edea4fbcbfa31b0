"""
Cron: that each tick is run at most once, and none left out while somebody asked.

Simulated: days of five hosts with clocks up to 20 s off, 200 ticks a day, with lost
answers, a server that stands still, and processes that die, on a clock of their own.
Real: five hosts start the installed program, tick after tick; some of it is killed, and
the server is restarted (it keeps an append-only file).
"""
