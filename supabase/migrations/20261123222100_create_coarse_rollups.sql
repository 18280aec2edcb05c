-- Purpose: levels that are condensed from the minutes (hours, days, weeks), and the list of what waits to be condensed.
-- Locks: ACCESS EXCLUSIVE on users_by_period, which goes.

-- Increments touch the finest levels only: usage_by_minute, usage_by_user, performance_by_minute. Everything coarser is
-- computed from them, bucket by bucket; a bucket whose base has changed since is listed here, and readers take its finer
-- level until it is condensed again. So a coarse row is never wrong, only missing.
create table observability_internal.stale_rollups (
  level text not null,
  bucket timestamptz not null,
  constraint stale_rollups_pkey primary key (level, bucket),
  constraint "a level is hour, day, week or month" check (level in ('hour', 'day', 'week', 'month'))
);

comment on table observability_internal.stale_rollups is 'UTC buckets whose coarse rows do not yet hold all that the minutes hold.';

create table observability_internal.usage_by_day (
  like observability_internal.usage_by_minute,
  constraint usage_by_day_pkey primary key (bucket, dim_id)
);

comment on table observability_internal.usage_by_day is 'Calls by UTC day and dimensions.';

create table observability_internal.performance_by_day (
  like observability_internal.performance_by_minute,
  constraint performance_by_day_pkey primary key (bucket, route_id)
);

comment on table observability_internal.performance_by_day is 'HTTP requests by UTC day and route.';

create table observability_internal.latency_groups (
  group_id integer generated always as identity,
  kind text not null,
  value text not null,
  constraint latency_groups_pkey primary key (group_id),
  constraint latency_groups_key unique (kind, value),
  constraint "a group is of calls or of requests" check (
    kind in ('total', 'model', 'feature', 'environment', 'requests', 'route')
  )
);

comment on table observability_internal.latency_groups is 'What has histograms of its own: all calls, each model, feature and environment; all requests, each method and route.';

create table observability_internal.latency_by_group (
  level text not null,
  bucket timestamptz not null,
  group_id integer not null,
  latency bigint[],
  time_to_first bigint[],
  latency_percentiles double precision[],
  first_percentiles double precision[],
  requests bigint,
  errors bigint,
  prompt_tokens bigint,
  completion_tokens bigint,
  cached_tokens bigint,
  reasoning_tokens bigint,
  unpriced_requests bigint,
  cost numeric,
  constraint latency_by_group_pkey primary key (level, group_id, bucket),
  constraint "a level is quarter, hour, day or week" check (level in ('quarter', 'hour', 'day', 'week'))
);

comment on table observability_internal.latency_by_group is 'Merged histograms by UTC bucket and their {count, p50, p90, p99}, and sums of calls (null for requests); quarters of an hour for all calls and all requests only.';

create table observability_internal.usage_by_user_day (
  bucket timestamptz not null,
  user_key integer not null,
  requests bigint not null,
  errors bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cached_tokens bigint not null,
  unpriced_requests bigint not null,
  cost numeric not null,
  constraint usage_by_user_day_pkey primary key (bucket, user_key)
);

comment on table observability_internal.usage_by_user_day is 'Calls by UTC day and user.';

create table observability_internal.usage_by_user_week (
  dim_id integer not null,
  like observability_internal.usage_by_user_day,
  constraint usage_by_user_week_pkey primary key (dim_id, bucket, user_key)
);

comment on table observability_internal.usage_by_user_week is 'Calls by UTC week (from Monday), user and dimensions; dim_id 0 holds all dimensions together.';

create table observability_internal.rollup_checks (
  checked_at timestamptz not null,
  from_time timestamptz not null,
  to_time timestamptz not null,
  is_exact boolean not null,
  result jsonb not null,
  constraint rollup_checks_pkey primary key (checked_at)
);

comment on table observability_internal.rollup_checks is 'What verify_rollups found; kept for 90 days.';

-- Users are counted from usage_by_user and its coarser levels when their bucket is condensed.
drop table observability_internal.users_by_period;

alter table observability_internal.stale_rollups enable row level security;

alter table observability_internal.usage_by_day enable row level security;

alter table observability_internal.performance_by_day enable row level security;

alter table observability_internal.latency_groups enable row level security;

alter table observability_internal.latency_by_group enable row level security;

alter table observability_internal.usage_by_user_day enable row level security;

alter table observability_internal.usage_by_user_week enable row level security;

alter table observability_internal.rollup_checks enable row level security;

create policy "analysts read what waits to be condensed" on observability_internal.stale_rollups
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the days" on observability_internal.usage_by_day
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the days of routes" on observability_internal.performance_by_day
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the groups" on observability_internal.latency_groups
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the merged histograms" on observability_internal.latency_by_group
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the days of users" on observability_internal.usage_by_user_day
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the weeks of users" on observability_internal.usage_by_user_week
for select to authenticated
using ((select observability_internal.can_read_all()));

grant select on table
observability_internal.stale_rollups, observability_internal.usage_by_day, observability_internal.performance_by_day,
observability_internal.latency_groups, observability_internal.latency_by_group,
observability_internal.usage_by_user_day, observability_internal.usage_by_user_week
to authenticated;

grant select, insert, update, delete on table
observability_internal.stale_rollups, observability_internal.usage_by_day, observability_internal.performance_by_day,
observability_internal.latency_groups, observability_internal.latency_by_group,
observability_internal.usage_by_user_day, observability_internal.usage_by_user_week, observability_internal.rollup_checks
to service_role;

-- Rollups that were filled before this migration have no coarse rows yet.
insert into observability_internal.stale_rollups (level, bucket)
select distinct l.level, date_trunc(l.level, r.bucket, 'UTC') as bucket
from (
  select h.bucket from observability_internal.usage_by_hour as h
  union all
  select h.bucket from observability_internal.performance_by_hour as h
) as r
cross join (values ('hour'), ('day'), ('week'), ('month')) as l (level);
