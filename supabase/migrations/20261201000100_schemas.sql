-- The two schemas of Treering: `observability` is exposed through Supabase's API, `observability_internal` is not.
-- Locks: none; it only creates.

create schema observability;

create schema observability_internal;

comment on schema observability is 'Treering: the tables under row level security and the functions that applications call.';

comment on schema observability_internal is 'Treering: partitions, rollups, materialized views, job state, outbox. Never exposed.';

-- Only the global form has an effect: a schema's own default privileges cannot take away what the global ones give.
alter default privileges revoke execute on functions from public;

grant usage on schema observability to authenticated, service_role;

grant usage on schema observability_internal to authenticated, service_role;
