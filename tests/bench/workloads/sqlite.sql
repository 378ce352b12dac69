-- Inserts with indexes, joins, aggregates, updates.
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER, age INTEGER);
CREATE TABLE town (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE INDEX by_town ON person (town, age);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
	INSERT INTO town SELECT i, 'town-' || (i * 7919 % 1000003) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)
	INSERT INTO person SELECT i, printf('person %06d', i * 7919 % 15013), i * 31 % 500 + 1, i * 17 % 90 FROM n;
COMMIT;
SELECT town.name, count(*), avg(age) FROM person JOIN town ON town.id = person.town WHERE age > 30
	GROUP BY town.id ORDER BY 2 DESC, 1 LIMIT 5;
SELECT count(*), sum(length(name)) FROM person WHERE name LIKE '%42%';
UPDATE person SET age = age + 1 WHERE town % 3 = 0;
DELETE FROM person WHERE age < 10;
SELECT count(*), sum(age), min(name), max(name) FROM person;
SELECT a.name, b.name FROM person a JOIN person b ON b.id = a.id * 2 WHERE a.age = b.age ORDER BY 1 LIMIT 5;
