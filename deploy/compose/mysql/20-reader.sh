# shellcheck shell=bash
# The image's entrypoint runs this file once. The nodes' user may read the two tables and nothing else.
docker_process_sql --database=mysql <<SQL
CREATE USER 'frontdesk'@'%' IDENTIFIED BY '$READER_PASSWORD';
GRANT SELECT ON legacy.customers TO 'frontdesk'@'%';
GRANT SELECT ON legacy.dentists TO 'frontdesk'@'%';
SQL
