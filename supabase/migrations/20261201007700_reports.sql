-- The daily, weekly and monthly report: when it leaves, where to, and that none leaves twice.
-- Locks: none; it only creates.

create table observability_internal.report_schedules (
  kind text not null,
  is_enabled boolean not null default false,
  local_hour integer not null default 8,
  timezone text not null default 'UTC',
  channels bigint[] not null default '{}',
  -- What is in a mailbox cannot be erased: a tenant may be one person.
  names_tenants boolean not null default false,
  updated_at timestamptz not null default now(),
  updated_by text,
  constraint report_schedules_pkey primary key (kind),
  constraint "a report is daily, weekly or monthly" check (kind in ('daily', 'weekly', 'monthly')),
  constraint "a report leaves at an hour of the day" check (local_hour between 0 and 23),
  constraint "a report's time zone is known" check (observability_internal.is_timezone(timezone)),
  constraint "a report goes to at most 50 channels" check (cardinality(channels) <= 50)
);

comment on table observability_internal.report_schedules is
'When and where the daily report (of yesterday), the weekly one (of the week until Sunday, on Monday) and the monthly one'
' (of the month before, on its first day) leave.';

insert into observability_internal.report_schedules (kind) values ('daily'), ('weekly'), ('monthly');

alter table observability_internal.report_schedules enable row level security;

grant select on table observability_internal.report_schedules to authenticated;

grant select, insert, update, delete on table observability_internal.report_schedules to service_role;

create policy "ops see when reports leave" on observability_internal.report_schedules
for select to authenticated
using ((select observability_internal.is_ops()));

create table observability_internal.reports (
  kind text not null,
  period_start date not null,
  period_end date not null,
  timezone text not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  constraint reports_pkey primary key (kind, period_start),
  constraint "a report of a period is daily, weekly or monthly" check (kind in ('daily', 'weekly', 'monthly')),
  constraint "a report's period ends after its start" check (period_end > period_start)
);

comment on table observability_internal.reports is
'Which reports were written into the outbox: one of a kind and period, so that none leaves twice. What they said is '
'in the messages alone.';

alter table observability_internal.reports enable row level security;

grant select, insert, update, delete on table observability_internal.reports to service_role;

create function observability.get_report_schedules() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  perform observability_internal.require_access('{ops,service}');
  return (
    select coalesce(jsonb_agg(to_jsonb(s) order by array_position(array['daily', 'weekly', 'monthly'], s.kind)), '[]')
    from observability_internal.report_schedules as s
  );
end;
$$;

comment on function observability.get_report_schedules is
'When and where reports leave: [{kind, is_enabled, local_hour, timezone, channels, names_tenants}]. Ops only.';
revoke execute on function observability.get_report_schedules from public;
grant execute on function observability.get_report_schedules to authenticated, service_role;

-- Security definer: nobody but the functions writes here, and this one checks the caller first.
create function observability.save_report_schedule(schedule jsonb) returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_unknown text;
  v_saved observability_internal.report_schedules;
begin
  perform observability_internal.require_access('{ops,service}');
  if jsonb_typeof(schedule) is distinct from 'object' then
    raise exception 'a schedule is a JSON object' using errcode = '22023';
  end if;
  select k.key into v_unknown
  from jsonb_object_keys(schedule) as k (key)
  where k.key <> all (array['kind', 'is_enabled', 'local_hour', 'timezone', 'channels', 'names_tenants'])
  limit 1;
  if v_unknown is not null then
    raise exception 'a schedule has no field %', left(v_unknown, 100) using errcode = '22023';
  end if;
  update observability_internal.report_schedules as s
  set
    is_enabled = coalesce((schedule ->> 'is_enabled')::boolean, s.is_enabled),
    local_hour = coalesce((schedule ->> 'local_hour')::integer, s.local_hour),
    timezone = coalesce(schedule ->> 'timezone', s.timezone),
    names_tenants = coalesce((schedule ->> 'names_tenants')::boolean, s.names_tenants),
    channels = case
      when jsonb_typeof(schedule -> 'channels') = 'array'
        then array(select c.value::bigint from jsonb_array_elements_text(schedule -> 'channels') as c)
      else s.channels
    end,
    updated_at = now(), updated_by = coalesce(auth.jwt() ->> 'sub', auth.jwt() ->> 'role')
  where s.kind = schedule ->> 'kind'
  returning s.* into v_saved;
  if not found then
    raise exception 'a report is daily, weekly or monthly' using errcode = '22023';
  end if;
  return to_jsonb(v_saved);
end;
$$;

comment on function observability.save_report_schedule is
'Changes the fields given of the schedule {kind, is_enabled, local_hour, timezone, channels, names_tenants}. Ops only.';
revoke execute on function observability.save_report_schedule from public;
grant execute on function observability.save_report_schedule to authenticated, service_role;

create function observability.get_due_reports(as_of timestamptz default null) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_now constant timestamptz := coalesce(as_of, clock_timestamp());
begin
  perform observability_internal.require_access('{service}');
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'kind', d.kind, 'timezone', d.timezone, 'period_start', d.period_start, 'period_end', d.period_end,
      'names_tenants', d.names_tenants, 'from_time', d.period_start::timestamp at time zone d.timezone,
      'to_time', d.period_end::timestamp at time zone d.timezone
    ) order by d.kind), '[]')
    from (
      select
        s.kind, s.timezone, (p.period_end - ('1 ' || p.unit)::interval)::date as period_start, p.period_end, s.local_hour,
        s.names_tenants
      from observability_internal.report_schedules as s
      cross join lateral (
        select u.unit, date_trunc(u.unit, v_now at time zone s.timezone)::date as period_end
        from (select case s.kind when 'daily' then 'day' when 'weekly' then 'week' else 'month' end as unit) as u
      ) as p
      where s.is_enabled and cardinality(s.channels) > 0
        and (v_now at time zone s.timezone) >= p.period_end + make_interval(hours => s.local_hour)
    ) as d
    where not exists (
      select from observability_internal.reports as r where r.kind = d.kind and r.period_start = d.period_start
    )
  );
end;
$$;

comment on function observability.get_due_reports is
'Reports whose hour has come and that were not written yet: [{kind, timezone, names_tenants, period_start, period_end, from_time, '
'to_time}]. A worker that was away writes the latest one late.';
revoke execute on function observability.get_due_reports from public;
grant execute on function observability.get_due_reports to service_role;

create function observability.publish_report(
  kind text, period_start date, period_end date, message jsonb, worker text, is_extra boolean default false
) returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_schedule observability_internal.report_schedules;
  v_count integer;
begin
  perform observability_internal.require_access('{service}');
  if jsonb_typeof(message) is distinct from 'object' or not message ?& array['title', 'text', 'html'] then
    raise exception 'a report has a title, a text and html' using errcode = '22023';
  end if;
  select * into v_schedule from observability_internal.report_schedules as s where s.kind = publish_report.kind;
  if not found then
    raise exception 'a report is daily, weekly or monthly' using errcode = '22023';
  end if;
  if not is_extra then
    -- A second worker waits here for the first one's commit and then finds the report written.
    insert into observability_internal.reports (kind, period_start, period_end, timezone, created_by)
    values (
      publish_report.kind, publish_report.period_start, publish_report.period_end, v_schedule.timezone, publish_report.worker
    )
    on conflict (kind, period_start) do nothing;
    if not found then
      return 0;
    end if;
  end if;
  insert into observability_internal.notifications (channel_id, channel_name, event, payload, next_attempt_at, created_at)
  select
    c.channel_id, c.name, 'report',
    jsonb_build_object(
      'schema', 'treering.report/1', 'event', 'report', 'occurred_at', clock_timestamp(), 'channel', c.name,
      'kind', publish_report.kind, 'period_start', publish_report.period_start, 'period_end', publish_report.period_end,
      'message', case when c.kind = 'webhook' then publish_report.message - 'image' else publish_report.message end
    ),
    clock_timestamp(), clock_timestamp()
  from observability_internal.notification_channels as c
  where c.channel_id = any (v_schedule.channels) and c.is_enabled;
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

comment on function observability.publish_report is
'Writes a report {title, text, html, image} into its channels'' outbox, once a period unless it is an extra one. '
'Returns how many messages.';
revoke execute on function observability.publish_report from public;
grant execute on function observability.publish_report to service_role;
