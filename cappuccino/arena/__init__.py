"""The knock-out tournament: who meets whom (`ladder`), how a match is played (`match`), what it comes to
(`result`, `rows`), and the whole of it match by match (`season`).

Nothing is imported here: `match` needs torch, and the command line starts without it.
"""
