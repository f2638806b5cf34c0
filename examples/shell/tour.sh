#!/bin/sh
# The commands of docs/guide/shell.md and docs/guide/doctor.md, in an empty directory. What they print is in tour.out.
set -e

python -m looplite books.db "CREATE TABLE book(id INTEGER PRIMARY KEY, title TEXT, year INT, cover BLOB)"
echo "INSERT INTO book VALUES (1, 'Emma', 1815, x'ffd8'), (2, 'Romola', NULL, NULL)" | python -m looplite books.db
python -m looplite books.db --mode table "SELECT * FROM book"
python -m looplite books.db --mode csv "SELECT * FROM book"
python -m looplite books.db --mode json "SELECT * FROM book"
python -m looplite books.db .schema
python -m looplite books.db .dump > books.sql
python -m looplite copy.db < books.sql
python -m looplite copy.db "SELECT count(*) FROM book"

python -m looplite books.db "SELECT titel FROM book" || echo "status $?"
python -m looplite --readonly books.db "DELETE FROM book" || echo "status $?"
python -m looplite books.db "BEGIN; DELETE FROM book" || echo "status $?"

python -m looplite books.db "PRAGMA journal_mode = WAL" "INSERT INTO book(title) VALUES ('[1,2]')"
python -m looplite doctor books.db --json | grep '"status"'
python -m looplite doctor missing.db || echo "status $?"
