-- The two schemas of Treering: `observability` is exposed through Supabase's API, `observability_internal` is not. The
-- role of keys that may only insert. And the history of our own migrations.
-- Locks: none; it only creates.

-- Functions only: a caller who may read a table's rows through the API may also ask for their count, and with `count=planned` they
-- get the planner's estimate, which knows nothing of row level security.
create schema observability;

create schema observability_internal;

comment on schema observability is 'Treering: the functions that applications call, and nothing else.';

comment on schema observability_internal is 'Treering: all tables (under row level security), views, types and helpers. Never exposed.';

-- The role in the keys that `treering keys create` makes. Roles belong to the whole server: another database may have
-- made it, or may be making it at this moment.
do $role$
begin
  if to_regrole('treering_writer') is null then
    create role treering_writer nologin noinherit;
  end if;
exception
  when duplicate_object or unique_violation then
    null;
end
$role$;

do $grant$
begin
  if to_regrole('authenticator') is not null and not pg_has_role('authenticator', 'treering_writer', 'member') then
    grant treering_writer to authenticator;
  end if;
exception
  when duplicate_object or unique_violation then
    null;
end
$grant$;

grant usage on schema observability to authenticated, service_role, treering_writer;

grant usage on schema observability_internal to authenticated, service_role;

-- Not in supabase_migrations, which belongs to `supabase db push`: it refuses versions without a file.
create table observability_internal.migrations (
  version text not null,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now(),
  constraint migrations_pkey primary key (version),
  constraint "a checksum is the SHA-256 of the file, in hexadecimal" check (checksum ~ '^[0-9a-f]{64}$')
);

comment on table observability_internal.migrations is 'Which files of Treering''s SQL this database has, however they were applied.';

alter table observability_internal.migrations enable row level security;

create function observability_internal.record_migration(version text, name text, checksum text) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.migrations (version, name, checksum)
  values (record_migration.version, record_migration.name, record_migration.checksum);
$$;

comment on function observability_internal.record_migration is 'Notes that a file was applied. For the owner only: treering migrate, and copied files.';
revoke execute on function observability_internal.record_migration from public;
