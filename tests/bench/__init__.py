"""
Measurements against floors and peers.  Each program of this package prints a table.

All contestants of a figure are measured in one run, in turns, so that whatever slows
the machine down slows all of them; a ratio is the median of the ratios within each
round.  Times are those of one machine on one day; ratios travel better, but not far.
"""
