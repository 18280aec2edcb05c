"""Everything of `treering up`: embedded Postgres, worker and app on one machine."""
