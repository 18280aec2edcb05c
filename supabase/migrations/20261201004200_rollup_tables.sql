-- Sums of calls and requests by minute, hour, day and user, and the list of what waits to be condensed.
-- Locks: none; it only creates.

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

alter table observability_internal.stale_rollups enable row level security;

grant select on table observability_internal.stale_rollups to authenticated;

grant select, insert, update, delete on table observability_internal.stale_rollups to service_role;

create policy "analysts read what waits to be condensed" on observability_internal.stale_rollups
for select to authenticated
using ((select observability_internal.can_read_all()));

-- The price of another model is no certain one: `cost` leaves it out, `fallback_cost` stands beside it.
-- Most cells have none of the rarer tokens and sums: there a null, which takes no room, means 0.
-- The running minute's rows are updated every second: room in their pages keeps the updates there.
create table observability_internal.usage_by_minute (
  bucket timestamptz not null,
  dim_id integer not null,
  requests bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cached_tokens bigint,
  cache_write_tokens bigint,
  reasoning_tokens bigint,
  audio_input_tokens bigint,
  audio_output_tokens bigint,
  cost numeric not null,
  fallback_cost numeric,
  provider_reported_cost numeric,
  unpriced_requests bigint,
  fallback_requests bigint,
  estimated_requests bigint,
  latency bigint[],
  time_to_first_token bigint[],
  constraint usage_by_minute_pkey primary key (bucket, dim_id)
) with (fillfactor = 95);

comment on table observability_internal.usage_by_minute is
'Calls by UTC minute and dimensions; cost is the exact sum in US dollars without fallback_cost, latency a histogram.';

alter table observability_internal.usage_by_minute enable row level security;

grant select on table observability_internal.usage_by_minute to authenticated;

grant select, insert, update, delete on table observability_internal.usage_by_minute to service_role;

create policy "analysts read the minutes" on observability_internal.usage_by_minute
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.usage_by_hour (
  like observability_internal.usage_by_minute,
  constraint usage_by_hour_pkey primary key (bucket, dim_id)
);

comment on table observability_internal.usage_by_hour is 'Calls by UTC hour and dimensions.';

alter table observability_internal.usage_by_hour enable row level security;

grant select on table observability_internal.usage_by_hour to authenticated;

grant select, insert, update, delete on table observability_internal.usage_by_hour to service_role;

create policy "analysts read the hours" on observability_internal.usage_by_hour
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.usage_by_day (
  like observability_internal.usage_by_minute,
  constraint usage_by_day_pkey primary key (bucket, dim_id)
);

comment on table observability_internal.usage_by_day is 'Calls by UTC day and dimensions.';

alter table observability_internal.usage_by_day enable row level security;

grant select on table observability_internal.usage_by_day to authenticated;

grant select, insert, update, delete on table observability_internal.usage_by_day to service_role;

create policy "analysts read the days" on observability_internal.usage_by_day
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.usage_by_user (
  like observability_internal.usage_by_minute,
  user_key integer not null,
  constraint usage_by_user_pkey primary key (user_key, bucket, dim_id)
);

comment on table observability_internal.usage_by_user is 'Calls by quarter of an hour (so that a local day is exact in every time zone), user and dimensions.';

-- The key finds a user's rows; the rows of a time lie together as they came, which a block range index finds. Of several
-- intervals a range, since a new row may take the room of an old one.
create index usage_by_user_bucket_idx on observability_internal.usage_by_user
using brin (bucket timestamptz_minmax_multi_ops) with (pages_per_range = 16, autosummarize = on);

alter table observability_internal.usage_by_user enable row level security;

grant select on table observability_internal.usage_by_user to authenticated;

grant select, insert, update, delete on table observability_internal.usage_by_user to service_role;

create policy "people read their own rollup, analysts all" on observability_internal.usage_by_user
for select to authenticated
using (
  (select observability_internal.can_read_all())
  or user_key in (select unnest(observability_internal.current_user_keys()))
);

-- A day or week of many users is one row of columns: a row a user would be mostly what every row carries, and its index.
create table observability_internal.usage_by_user_day (
  bucket timestamptz not null,
  user_keys integer[] not null,
  requests bigint[] not null,
  errors bigint[] not null,
  prompt_tokens bigint[] not null,
  completion_tokens bigint[] not null,
  cached_tokens bigint[] not null,
  unpriced_requests bigint[] not null,
  cost numeric[] not null,
  constraint usage_by_user_day_pkey primary key (bucket)
);

comment on table observability_internal.usage_by_user_day is
'Calls by UTC day and user, each column an array with a place for each user; those without a certain price count as'
' unpriced here. Rows are in users_of_days.';

alter table observability_internal.usage_by_user_day enable row level security;

grant select on table observability_internal.usage_by_user_day to authenticated;

grant select, insert, update, delete on table observability_internal.usage_by_user_day to service_role;

create policy "analysts read the days of users" on observability_internal.usage_by_user_day
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.usage_by_user_week (
  dim_id integer not null,
  like observability_internal.usage_by_user_day,
  constraint usage_by_user_week_pkey primary key (dim_id, bucket)
);

comment on table observability_internal.usage_by_user_week is
'The same by UTC week (from Monday) and dimensions; dim_id 0 holds all dimensions together. Rows are in users_of_weeks.';

alter table observability_internal.usage_by_user_week enable row level security;

grant select on table observability_internal.usage_by_user_week to authenticated;

grant select, insert, update, delete on table observability_internal.usage_by_user_week to service_role;

create policy "analysts read the weeks of users" on observability_internal.usage_by_user_week
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.performance_by_minute (
  bucket timestamptz not null,
  route_id integer not null,
  requests double precision not null,
  latency bigint[],
  time_to_first_byte bigint[],
  constraint performance_by_minute_pkey primary key (bucket, route_id)
) with (fillfactor = 95);

comment on table observability_internal.performance_by_minute is 'HTTP requests by UTC minute and route; requests and histograms are weighted by the sampling.';

alter table observability_internal.performance_by_minute enable row level security;

grant select on table observability_internal.performance_by_minute to authenticated;

grant select, insert, update, delete on table observability_internal.performance_by_minute to service_role;

create policy "analysts read the minutes of routes" on observability_internal.performance_by_minute
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.performance_by_hour (
  like observability_internal.performance_by_minute,
  constraint performance_by_hour_pkey primary key (bucket, route_id)
);

comment on table observability_internal.performance_by_hour is 'HTTP requests by UTC hour and route.';

alter table observability_internal.performance_by_hour enable row level security;

grant select on table observability_internal.performance_by_hour to authenticated;

grant select, insert, update, delete on table observability_internal.performance_by_hour to service_role;

create policy "analysts read the hours of routes" on observability_internal.performance_by_hour
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.performance_by_day (
  like observability_internal.performance_by_minute,
  constraint performance_by_day_pkey primary key (bucket, route_id)
);

comment on table observability_internal.performance_by_day is 'HTTP requests by UTC day and route.';

alter table observability_internal.performance_by_day enable row level security;

grant select on table observability_internal.performance_by_day to authenticated;

grant select, insert, update, delete on table observability_internal.performance_by_day to service_role;

create policy "analysts read the days of routes" on observability_internal.performance_by_day
for select to authenticated
using ((select observability_internal.can_read_all()));

create table observability_internal.latency_groups (
  group_id integer generated always as identity,
  kind text not null,
  value text not null,
  constraint latency_groups_pkey primary key (group_id),
  constraint latency_groups_key unique (kind, value),
  constraint "a group is of calls or of requests" check (
    kind in ('total', 'model', 'feature', 'environment', 'status', 'requests', 'route')
  )
);

comment on table observability_internal.latency_groups is
'What has histograms of its own: all calls, each model, feature, environment and status; all requests, each method and route.';

alter table observability_internal.latency_groups enable row level security;

grant select on table observability_internal.latency_groups to authenticated;

grant select, insert, update, delete on table observability_internal.latency_groups to service_role;

create policy "people read the groups of their own calls, analysts all" on observability_internal.latency_groups
for select to authenticated
using (
  (select observability_internal.can_read_all())
  or (kind, value) in (
    select v.kind, v.value
    from observability_internal.dimensions as d
    cross join lateral (
      values ('total', ''), ('model', d.model), ('feature', d.feature), ('environment', d.environment), ('status', d.status)
    ) as v (kind, value)
  )
);

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

comment on table observability_internal.latency_by_group is
'Merged histograms by UTC bucket and their {count, p50, p90, p99}, and sums of calls (null for requests); quarters of'
' an hour for all calls and all requests only. Calls without a certain price count as unpriced here.';

alter table observability_internal.latency_by_group enable row level security;

grant select on table observability_internal.latency_by_group to authenticated;

grant select, insert, update, delete on table observability_internal.latency_by_group to service_role;

create policy "analysts read the merged histograms" on observability_internal.latency_by_group
for select to authenticated
using ((select observability_internal.can_read_all()));

-- Most users have few calls a day, which are read as they are. Of those who have many, a day's or week's histograms are
-- merged, or their pages would merge ten thousands of rows.
create table observability_internal.latency_by_user (
  level text not null,
  bucket timestamptz not null,
  user_key integer not null,
  group_id integer not null,
  latency bigint[],
  time_to_first_token bigint[],
  constraint latency_by_user_pkey primary key (user_key, level, bucket, group_id),
  constraint "a level is day or week" check (level in ('day', 'week'))
);

comment on table observability_internal.latency_by_user is
'Merged histograms by UTC day or week of the users with many calls in it, by group (see latency_groups).';

create index latency_by_user_bucket_idx on observability_internal.latency_by_user (level, bucket);

alter table observability_internal.latency_by_user enable row level security;

grant select on table observability_internal.latency_by_user to authenticated;

grant select, insert, update, delete on table observability_internal.latency_by_user to service_role;

create policy "people read their own histograms, analysts all" on observability_internal.latency_by_user
for select to authenticated
using (
  (select observability_internal.can_read_all())
  or user_key in (select unnest(observability_internal.current_user_keys()))
);

create table observability_internal.cost_groups (
  group_id integer generated always as identity,
  provider text not null,
  model text not null,
  feature text not null,
  environment text not null,
  constraint cost_groups_pkey primary key (group_id),
  constraint cost_groups_key unique (provider, model, feature, environment)
);

comment on table observability_internal.cost_groups is 'The combinations that cost_aggregates has rows for.';

alter table observability_internal.cost_groups enable row level security;

grant select, insert, update, delete on table observability_internal.cost_groups to service_role;

create table observability_internal.user_counts (
  period text not null,
  bucket_start timestamptz not null,
  group_id integer not null,
  user_count bigint not null,
  constraint user_counts_pkey primary key (period, bucket_start, group_id)
);

comment on table observability_internal.user_counts is 'Rows of users_by_period, counted as they come, so that a refresh reads no users.';

alter table observability_internal.user_counts enable row level security;

grant select, insert, update, delete on table observability_internal.user_counts to service_role;

create table observability_internal.rollup_checks (
  checked_at timestamptz not null,
  from_time timestamptz not null,
  to_time timestamptz not null,
  is_exact boolean not null,
  result jsonb not null,
  constraint rollup_checks_pkey primary key (checked_at)
);

comment on table observability_internal.rollup_checks is 'What verify_rollups found; kept for 90 days.';

alter table observability_internal.rollup_checks enable row level security;

grant select, insert, update, delete on table observability_internal.rollup_checks to service_role;

-- The sums of calls are the columns of usage_by_minute that hold one number: a column added there is one in every level, and
-- all that counts, condenses, moves or reads them goes through this. What a call adds is in counted_calls.
create function observability_internal.each_sum(template text, nullable text default null) returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select string_agg(
    format(case when a.attnotnull then template else coalesce(nullable, template) end, a.attname, a.atttypid::regtype), ', '
    order by a.attnum
  )
  from pg_catalog.pg_attribute as a
  where a.attrelid = 'observability_internal.usage_by_minute'::regclass and a.attnum > 0 and not a.attisdropped
    and a.atttypid in ('bigint'::regtype, 'numeric'::regtype);
$$;

comment on function observability_internal.each_sum is
'SQL that a template makes of each sum of calls, with commas between: %1$I is the column, %2$s its type; `nullable` is the'
' template of those whose null means 0.';
revoke execute on function observability_internal.each_sum from public;
grant execute on function observability_internal.each_sum to authenticated, service_role;

do $types$
begin
  execute format(
    $sql$
    create type observability_internal.usage_cell as (
      bucket_start timestamptz, dim_id integer, user_key integer, %1$s, latency bigint[], time_to_first_token bigint[]
    );
    create type observability_internal.usage_difference as (created_at timestamptz, dim_id integer, user_key integer, %1$s);
    create type observability_internal.usage_sum as (is_current boolean, dim_id integer, %2$s)
    $sql$,
    observability_internal.each_sum('%1$I %2$s'), observability_internal.each_sum('%1$I numeric')
  );
end
$types$;

-- For functions that are called a thousand times over, as those of alerts are: a query of a view keeps its plan.
do $views$
declare
  v_level text;
begin
  foreach v_level in array array['minute', 'hour', 'day'] loop
    execute format(
      $sql$
      create view observability_internal.whole_%1$ss with (security_invoker = true) as
      select r.bucket, r.dim_id, %2$s, r.latency, r.time_to_first_token from observability_internal.usage_by_%1$s as r;
      comment on view observability_internal.whole_%1$ss is 'The rows of usage_by_%1$s with 0 where a sum is null.';
      grant select on table observability_internal.whole_%1$ss to authenticated, service_role
      $sql$,
      v_level, observability_internal.each_sum('r.%1$I', 'coalesce(r.%1$I, 0) as %1$I')
    );
  end loop;
end
$views$;

comment on type observability_internal.usage_cell is 'Sums of calls by bucket, dimensions and, where read by user, user.';

comment on type observability_internal.usage_difference is 'What a change of counted calls adds to the rollups; negative takes away, null is 0.';

create function observability_internal.mark_stale(buckets timestamptz[]) returns void
language sql
volatile
security invoker
set search_path = ''
as $$
  insert into observability_internal.stale_rollups (level, bucket)
  select distinct l.level, date_trunc(l.level, b.bucket, 'UTC')
  from unnest(buckets) as b (bucket)
  cross join (values ('hour'), ('day'), ('week'), ('month')) as l (level)
  on conflict do nothing;
$$;

comment on function observability_internal.mark_stale is 'Says that the minutes of these times have changed, so that their coarse rows wait to be condensed.';
revoke execute on function observability_internal.mark_stale from public;
grant execute on function observability_internal.mark_stale to service_role;
