-- The statement of each month for finance: when it is written, in which form, where to, and that each target gets it once.
-- Locks: none; it only creates.

create table observability_internal.statement_schedule (
  is_only boolean not null default true,
  is_enabled boolean not null default false,
  formats text[] not null default '{xlsx}',
  dimensions text[] not null default '{feature,model}',
  timezone text not null default 'UTC',
  grace_days integer not null default 5,
  to_folder boolean not null default true,
  channels bigint[] not null default '{}',
  first_month date,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint statement_schedule_pkey primary key (is_only),
  constraint "there is one schedule of statements" check (is_only),
  constraint "a statement is xlsx, pdf, csv, parquet or focus" check (
    cardinality(formats) between 1 and 5 and formats <@ '{xlsx,pdf,csv,parquet,focus}'
  ),
  constraint "a statement's lines are told apart by at most 10 names" check (
    cardinality(dimensions) <= 10 and char_length(array_to_string(dimensions, '')) <= 500
  ),
  constraint "a statement's time zone is known" check (observability_internal.is_timezone(timezone)),
  constraint "a statement waits for 0 to 28 days after its month" check (grace_days between 0 and 28),
  constraint "a statement goes to at most 50 channels" check (cardinality(channels) <= 50)
);

comment on table observability_internal.statement_schedule is
'When, in which form and where to the statement of a month leaves: grace_days after it ended, from first_month on.';

insert into observability_internal.statement_schedule default values;

alter table observability_internal.statement_schedule enable row level security;

grant select on table observability_internal.statement_schedule to authenticated;

grant select, insert, update, delete on table observability_internal.statement_schedule to service_role;

create policy "ops see when statements leave" on observability_internal.statement_schedule
for select to authenticated
using ((select observability_internal.is_ops()));

create table observability_internal.statement_deliveries (
  month date not null,
  target text not null,
  done_at timestamptz,
  attempts integer not null default 0,
  error text,
  next_attempt_at timestamptz,
  claim_id uuid,
  claimed_by text,
  claimed_until timestamptz,
  files jsonb not null default '[]',
  constraint statement_deliveries_pkey primary key (month, target),
  constraint "a statement is of a month" check (extract(day from month) = 1),
  constraint "a statement goes to a channel or the folder" check (target ~ '^(folder|channel:[0-9]{1,18})$')
);

comment on table observability_internal.statement_deliveries is
'Which target has the statement of which month, so that none gets it twice; else how often it was tried, and why it failed.';

alter table observability_internal.statement_deliveries enable row level security;

grant select on table observability_internal.statement_deliveries to authenticated;

grant select, insert, update, delete on table observability_internal.statement_deliveries to service_role;

create policy "ops see which statements left" on observability_internal.statement_deliveries
for select to authenticated
using ((select observability_internal.is_ops()));

create function observability_internal.statement_state() returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'month', d.month, 'target', d.target, 'channel', c.name, 'done_at', d.done_at, 'attempts', d.attempts, 'error', d.error,
    'next_attempt_at', d.next_attempt_at, 'files', d.files
  ) order by d.month desc, d.target), '[]')
  from (
    select s.* from observability_internal.statement_deliveries as s order by s.month desc, s.target limit 60
  ) as d
  left join observability_internal.notification_channels as c on d.target = 'channel:' || c.channel_id;
$$;

comment on function observability_internal.statement_state is 'The newest deliveries of statements, for Settings and the status.';
revoke execute on function observability_internal.statement_state from public;
grant execute on function observability_internal.statement_state to authenticated, service_role;

create function observability.get_statement_schedule() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  return (
    select to_jsonb(s) - '{is_only}'::text[] || jsonb_build_object('deliveries', observability_internal.statement_state())
    from observability_internal.statement_schedule as s
  );
end;
$$;

comment on function observability.get_statement_schedule is
'When, how and where to statements leave, and what left: {is_enabled, formats, dimensions, timezone, grace_days, to_folder,'
' channels, first_month, deliveries: [{month, target, channel, done_at, attempts, error, next_attempt_at, files}]}. Ops only.';
revoke execute on function observability.get_statement_schedule from public;
grant execute on function observability.get_statement_schedule to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_statement_schedule(schedule jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_unknown text;
begin
  perform observability_internal.require_access('{ops,service}');
  if jsonb_typeof(schedule) is distinct from 'object' then
    raise exception 'a schedule is a JSON object' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(schedule) as k (key)
  where k.key <> all ('{is_enabled,formats,dimensions,timezone,grace_days,to_folder,channels}'::text[])
  limit 1;
  if v_unknown is not null then
    raise exception 'a schedule has no field %', left(v_unknown, 100) using errcode = '22023';
  end if;
  update observability_internal.statement_schedule as s
  set
    is_enabled = coalesce((schedule ->> 'is_enabled')::boolean, s.is_enabled),
    formats = case
      when schedule ? 'formats' then array(select f.value from jsonb_array_elements_text(schedule -> 'formats') as f)
      else s.formats
    end,
    dimensions = case
      when schedule ? 'dimensions' then array(select d.value from jsonb_array_elements_text(schedule -> 'dimensions') as d)
      else s.dimensions
    end,
    timezone = coalesce(schedule ->> 'timezone', s.timezone),
    grace_days = coalesce((schedule ->> 'grace_days')::integer, s.grace_days),
    to_folder = coalesce((schedule ->> 'to_folder')::boolean, s.to_folder),
    channels = case
      when schedule ? 'channels' then array(select c.value::bigint from jsonb_array_elements_text(schedule -> 'channels') as c)
      else s.channels
    end,
    -- Switched on, it begins with the month that ended last, and what was missed while it was off stays so.
    first_month = case
      when (schedule ->> 'is_enabled')::boolean and not s.is_enabled then (
        date_trunc('month', now() at time zone coalesce(schedule ->> 'timezone', s.timezone)) - interval '1 month'
      )::date
      else s.first_month
    end,
    updated_at = now(), updated_by = coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role');
  return observability.get_statement_schedule();
end;
$$;

comment on function observability.save_statement_schedule is
'Changes the fields given of the schedule {is_enabled, formats, dimensions, timezone, grace_days, to_folder, channels}. Ops'
' only.';
revoke execute on function observability.save_statement_schedule from public;
grant execute on function observability.save_statement_schedule to authenticated, service_role;

create function observability_internal.due_statements(has_folder boolean, as_of timestamptz)
returns table (month date, target text)
language sql
stable
security invoker
set search_path = ''
as $$
  select m.month::date, t.target
  from observability_internal.statement_schedule as s
  cross join lateral (
    select date_trunc('month', due_statements.as_of at time zone s.timezone - make_interval(days => s.grace_days))
      - interval '1 month' as latest
  ) as l
  cross join lateral (
    select 'folder' as target
    where due_statements.has_folder and s.to_folder
    union all
    select 'channel:' || c.channel_id
    from observability_internal.notification_channels as c
    where c.is_enabled and c.channel_id = any (s.channels)
  ) as t
  cross join lateral (
    -- A new target begins with the latest month; a known one gets what a worker that was away has left undone.
    select greatest(s.first_month, l.latest - interval '11 months', coalesce(min(d.month), l.latest)) as first
    from observability_internal.statement_deliveries as d
    where d.target = t.target
  ) as f
  cross join lateral generate_series(f.first, l.latest, interval '1 month') as m (month)
  where s.is_enabled;
$$;

comment on function observability_internal.due_statements is
'Months whose statement a target should have at a time, at most the last twelve.';
revoke execute on function observability_internal.due_statements from public;
grant execute on function observability_internal.due_statements to service_role;

create function observability.claim_statement(worker text, has_folder boolean, as_of timestamptz default null) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := coalesce(as_of, clock_timestamp());
  v_claimed observability_internal.statement_deliveries;
begin
  perform observability_internal.require_access('{service}');
  insert into observability_internal.statement_deliveries as d (month, target, attempts, claim_id, claimed_by, claimed_until)
  select u.month, u.target, 1, gen_random_uuid(), claim_statement.worker, v_now + interval '30 minutes'
  from observability_internal.due_statements(claim_statement.has_folder, v_now) as u
  left join observability_internal.statement_deliveries as k on u.month = k.month and u.target = k.target
  where k.month is null or (
    k.done_at is null and coalesce(k.claimed_until, '-infinity') <= v_now and coalesce(k.next_attempt_at, '-infinity') <= v_now
  )
  order by u.month, u.target
  limit 1
  -- A second worker waits here for the first one's commit and then finds its claim.
  on conflict (month, target) do update
  set attempts = d.attempts + 1, claim_id = excluded.claim_id, claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until
  where d.done_at is null and coalesce(d.claimed_until, '-infinity') <= v_now
    and coalesce(d.next_attempt_at, '-infinity') <= v_now
  returning d.* into v_claimed;
  return (
    select jsonb_build_object(
      'claim_id', v_claimed.claim_id, 'month', v_claimed.month, 'target', v_claimed.target, 'formats', s.formats,
      'dimensions', s.dimensions, 'timezone', s.timezone, 'grace_days', s.grace_days
    )
    from observability_internal.statement_schedule as s
    where v_claimed.claim_id is not null
  );
end;
$$;

comment on function observability.claim_statement is
'Lends the next statement that a target should have for half an hour: {claim_id, month, target (folder or channel:N), formats,'
' dimensions, timezone, grace_days}; null where there is none.';
revoke execute on function observability.claim_statement from public;
grant execute on function observability.claim_statement to service_role;

create function observability.finish_statement(claim_id uuid, files jsonb, message jsonb default null) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_done observability_internal.statement_deliveries;
begin
  perform observability_internal.require_access('{service}');
  update observability_internal.statement_deliveries as d
  set
    done_at = clock_timestamp(), files = finish_statement.files, error = null, next_attempt_at = null, claim_id = null,
    claimed_until = null
  where d.claim_id = finish_statement.claim_id and d.done_at is null
  returning d.* into v_done;
  if not found then
    return false;
  end if;
  -- In the same transaction, so that the message leaves if and only if the statement counts as sent.
  insert into observability_internal.notifications (channel_id, channel_name, event, payload, next_attempt_at, created_at)
  select
    c.channel_id, c.name, 'report',
    jsonb_build_object(
      'schema', 'treering.report/1', 'event', 'report', 'occurred_at', clock_timestamp(), 'channel', c.name,
      'kind', 'statement', 'period_start', v_done.month, 'period_end', (v_done.month + interval '1 month')::date,
      'message', case when c.kind = 'webhook' then finish_statement.message - 'files' else finish_statement.message end
    ),
    clock_timestamp(), clock_timestamp()
  from observability_internal.notification_channels as c
  where message is not null and v_done.target = 'channel:' || c.channel_id;
  return true;
end;
$$;

comment on function observability.finish_statement is
'Notes that a claimed statement was handed out, and puts its message {title, text, html, files} into the channel''s outbox;'
' false where the claim has gone to another worker.';
revoke execute on function observability.finish_statement from public;
grant execute on function observability.finish_statement to service_role;

create function observability.fail_statement(claim_id uuid, error text, as_of timestamptz default null) returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform observability_internal.require_access('{service}');
  update observability_internal.statement_deliveries as d
  set
    error = left(fail_statement.error, 500), claim_id = null, claimed_until = null,
    next_attempt_at = coalesce(fail_statement.as_of, clock_timestamp())
      + least(interval '5 minutes' * 2 ^ least(d.attempts - 1, 10), interval '6 hours')
  where d.claim_id = fail_statement.claim_id and d.done_at is null;
  return found;
end;
$$;

comment on function observability.fail_statement is
'Notes why a claimed statement could not be handed out; the next attempt is after 5 minutes, then 10, up to 6 hours.';
revoke execute on function observability.fail_statement from public;
grant execute on function observability.fail_statement to service_role;
