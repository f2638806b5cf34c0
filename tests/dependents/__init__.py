"""Other projects' own tests, run on looplite: run.py is the program."""
