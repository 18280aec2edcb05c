-- The two schemas of Treering: `observability` is exposed through Supabase's API, `observability_internal` is not.
-- Locks: none; it only creates.

-- Functions only: whoever may ask the API for a table's rows may ask for their count too, and with `count=planned` they
-- get the planner's estimate, which knows nothing of row level security.
create schema observability;

create schema observability_internal;

comment on schema observability is 'Treering: the functions that applications call, and nothing else.';

comment on schema observability_internal is 'Treering: all tables (under row level security), views, types and helpers. Never exposed.';

grant usage on schema observability to authenticated, service_role;

grant usage on schema observability_internal to authenticated, service_role;
