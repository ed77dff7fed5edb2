-- Sample people, in the default tables of MYSQL_CUSTOMERS_QUERY and MYSQL_DENTISTS_QUERY.
CREATE TABLE IF NOT EXISTS customers (
  cognito_sub VARCHAR(64) PRIMARY KEY, first_name VARCHAR(80), last_name VARCHAR(80),
  email VARCHAR(120), avatar_url VARCHAR(200)
);
CREATE TABLE IF NOT EXISTS dentists (
  user_id BIGINT PRIMARY KEY, first_name VARCHAR(80), last_name VARCHAR(80),
  email VARCHAR(120), avatar_url VARCHAR(200)
);
INSERT IGNORE INTO customers VALUES
  ('ada', 'Ada', 'Patient', 'ada@example.test', NULL),
  ('ben', 'Ben', 'Patient', 'ben@example.test', NULL);
INSERT IGNORE INTO dentists VALUES
  (1, 'Dana', 'Dentist', 'dana@example.test', NULL),
  (2, 'Emil', 'Dentist', 'emil@example.test', NULL);
