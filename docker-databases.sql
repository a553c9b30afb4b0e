-- The dashboard's own database, beside the catalog's.
CREATE DATABASE prefect OWNER neuroloom;
