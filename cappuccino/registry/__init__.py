"""Models: who they are (`identity`), what is stored of them (`manifest`, `artifacts`), what stage they have
reached (`stages`, changed through `moves`), and the rules that decide it (`sandbox`, `green_light`).

Nothing is imported here: `artifacts` needs torch, and the command line starts without it.
"""
