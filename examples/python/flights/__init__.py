"""The parts of the demo: load the flights, ask about them, serve them, compare.

load.py       from CSV files into a typed WAL database, through one connection
questions.py  what a person would ask of the data
serve.py      many readers, a writer and a scanner on one event loop
compare.py    the same work with `sqlite3`, aiosqlite and looplite
lateness.py   a 1 ms timer that tells how long the event loop was held up
text.py       tables and the progress bar
"""
