-- Purpose: the rollups that every page reads: by minute, by hour, by quarter of an hour and user; histograms that merge.
-- Locks: none on existing objects.

-- Histograms follow DDSketch (Masson, Rim, Lee, VLDB 2019): bin i holds (gamma^(i-1), gamma^i] milliseconds with
-- gamma = 1.01 / 0.99, so a value taken as 0.99 * gamma^i is within 1 % of the true one. ln(gamma) is written out where
-- rows are binned: a function of ours with a fixed search path cannot be inlined. Below a microsecond counts as one. A histogram is one
-- real[]: bin, weight, bin, weight …; real holds whole weights exactly up to 16.7 million a bin.
create function observability_internal.histogram_value(bin double precision) returns double precision
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select 0.99 * exp(bin * 0.020000666706669435);
$$;

comment on function observability_internal.histogram_value(double precision) is 'The duration in ms that stands for a bin, within 1 % of every value in it.';

create function observability_internal.merge_histograms(a real[], b real[]) returns real[]
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when a is null then b
    when b is null then a
    else (
      select array_agg(pair.entry order by merged.bin, pair.position)
      from (
        select entries.bin, sum(entries.weight)::real as weight
        from (
          select a[2 * i - 1] as bin, a[2 * i] as weight from generate_series(1, cardinality(a) / 2) as i
          union all
          select b[2 * i - 1], b[2 * i] from generate_series(1, cardinality(b) / 2) as i
        ) as entries
        group by entries.bin
      ) as merged
      cross join lateral (values (1, merged.bin), (2, merged.weight)) as pair (position, entry)
      where merged.weight <> 0
    )
  end;
$$;

comment on function observability_internal.merge_histograms(real[], real[]) is 'The sum of two histograms; null is the empty one.';

-- Merging costs some 30 microseconds a row and most rows of users are short, so short ones are only joined end to end:
-- readers sum by bin whatever the order.
create function observability_internal.add_to_histogram(present real[], added real[]) returns real[]
language sql
immutable
parallel safe
security invoker
set search_path = ''
as $$
  select case
    when coalesce(cardinality(present), 0) + coalesce(cardinality(added), 0) <= 64 then present || added
    else observability_internal.merge_histograms(present, added)
  end;
$$;

comment on function observability_internal.add_to_histogram(real[], real[]) is 'The sum of two histograms, its bins in any order and possibly repeated while it is short.';

create table observability_internal.dimensions (
  dim_id integer generated always as identity,
  provider text not null,
  model text not null,
  feature text not null,
  environment text not null,
  operation text not null,
  status text not null,
  error_type text not null,
  constraint dimensions_pkey primary key (dim_id),
  constraint dimensions_key unique (provider, model, feature, environment, operation, status, error_type)
);

comment on table observability_internal.dimensions is 'Each combination of dimensions that occurred; an absent feature or error type is the empty text.';

create table observability_internal.users (
  user_key integer generated always as identity,
  user_id text not null,
  constraint users_pkey primary key (user_key),
  constraint users_user_id_key unique (user_id)
);

comment on table observability_internal.users is 'A short key for each user id that occurred.';

create table observability_internal.usage_by_minute (
  bucket timestamptz not null,
  dim_id integer not null,
  requests bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  reasoning_tokens bigint not null,
  audio_input_tokens bigint not null,
  audio_output_tokens bigint not null,
  cost numeric not null,
  fallback_cost numeric not null,
  provider_reported_cost numeric not null,
  unpriced_requests bigint not null,
  fallback_requests bigint not null,
  estimated_requests bigint not null,
  latency real[],
  time_to_first_token real[],
  constraint usage_by_minute_pkey primary key (bucket, dim_id)
);

comment on table observability_internal.usage_by_minute is 'Calls by UTC minute and dimensions; cost is the exact sum in US dollars, latency a histogram.';

create table observability_internal.usage_by_hour (
  like observability_internal.usage_by_minute,
  constraint usage_by_hour_pkey primary key (bucket, dim_id)
);

comment on table observability_internal.usage_by_hour is 'Calls by UTC hour and dimensions.';

create table observability_internal.usage_by_user (
  like observability_internal.usage_by_minute,
  user_key integer not null,
  constraint usage_by_user_pkey primary key (bucket, user_key, dim_id)
);

comment on table observability_internal.usage_by_user is 'Calls by quarter of an hour (so that a local day is exact in every time zone), user and dimensions.';

create index usage_by_user_user_key_idx on observability_internal.usage_by_user (user_key, bucket);

create table observability_internal.route_dimensions (
  route_id integer generated always as identity,
  environment text not null,
  method text not null,
  route text not null,
  status_code integer not null,
  error_type text not null,
  constraint route_dimensions_pkey primary key (route_id),
  constraint route_dimensions_key unique (environment, method, route, status_code, error_type)
);

comment on table observability_internal.route_dimensions is 'Each combination of route, method, status and error type that occurred.';

create table observability_internal.performance_by_minute (
  bucket timestamptz not null,
  route_id integer not null,
  requests double precision not null,
  latency real[],
  time_to_first_byte real[],
  constraint performance_by_minute_pkey primary key (bucket, route_id)
);

comment on table observability_internal.performance_by_minute is 'HTTP requests by UTC minute and route; requests and histograms are weighted by the sampling.';

create table observability_internal.performance_by_hour (
  like observability_internal.performance_by_minute,
  constraint performance_by_hour_pkey primary key (bucket, route_id)
);

comment on table observability_internal.performance_by_hour is 'HTTP requests by UTC hour and route.';

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

create table observability_internal.users_by_period (
  period text not null,
  bucket_start timestamptz not null,
  group_id integer not null,
  user_key integer not null,
  constraint users_by_period_pkey primary key (period, bucket_start, group_id, user_key),
  constraint "a period is hour, day, week or month" check (period in ('hour', 'day', 'week', 'month'))
);

comment on table observability_internal.users_by_period is 'Who used what in which period: distinct users do not add up over buckets.';

create table observability_internal.user_counts (
  period text not null,
  bucket_start timestamptz not null,
  group_id integer not null,
  user_count bigint not null,
  constraint user_counts_pkey primary key (period, bucket_start, group_id)
);

comment on table observability_internal.user_counts is 'Rows of users_by_period, counted as they come, so that a refresh reads no users.';

alter table observability_internal.dimensions enable row level security;

alter table observability_internal.users enable row level security;

alter table observability_internal.usage_by_minute enable row level security;

alter table observability_internal.usage_by_hour enable row level security;

alter table observability_internal.usage_by_user enable row level security;

alter table observability_internal.route_dimensions enable row level security;

alter table observability_internal.performance_by_minute enable row level security;

alter table observability_internal.performance_by_hour enable row level security;

alter table observability_internal.cost_groups enable row level security;

alter table observability_internal.users_by_period enable row level security;

alter table observability_internal.user_counts enable row level security;

-- Security definer: row level security on `users` itself would hide the key that the policies below compare with.
create function observability_internal.current_user_key() returns integer
language sql
stable
security definer
set search_path = ''
as $$
  select u.user_key from observability_internal.users as u where u.user_id = auth.jwt() ->> 'sub';
$$;

comment on function observability_internal.current_user_key() is 'The key of the caller''s own user id, null where it has no calls.';

create policy "people see their own key, analysts all" on observability_internal.users
for select to authenticated
using (user_id = ((select auth.jwt()) ->> 'sub') or (select observability_internal.can_read_all()));

create policy "people read their own rollup, analysts all" on observability_internal.usage_by_user
for select to authenticated
using (
  user_key = (select observability_internal.current_user_key()) or (select observability_internal.can_read_all())
);

create policy "people see the dimensions of their own calls, analysts all" on observability_internal.dimensions
for select to authenticated
using (
  (select observability_internal.can_read_all())
  or dim_id in (
    select u.dim_id from observability_internal.usage_by_user as u
    where u.user_key = (select observability_internal.current_user_key())
  )
);

create policy "analysts read the minutes" on observability_internal.usage_by_minute
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the hours" on observability_internal.usage_by_hour
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the routes" on observability_internal.route_dimensions
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the minutes of routes" on observability_internal.performance_by_minute
for select to authenticated
using ((select observability_internal.can_read_all()));

create policy "analysts read the hours of routes" on observability_internal.performance_by_hour
for select to authenticated
using ((select observability_internal.can_read_all()));

grant select on table observability_internal.dimensions to authenticated;

grant select on table observability_internal.users to authenticated;

grant select on table observability_internal.usage_by_minute to authenticated;

grant select on table observability_internal.usage_by_hour to authenticated;

grant select on table observability_internal.usage_by_user to authenticated;

grant select on table observability_internal.route_dimensions to authenticated;

grant select on table observability_internal.performance_by_minute to authenticated;

grant select on table observability_internal.performance_by_hour to authenticated;

grant select, insert, update, delete on table
observability_internal.dimensions, observability_internal.users, observability_internal.usage_by_minute,
observability_internal.usage_by_hour, observability_internal.usage_by_user, observability_internal.route_dimensions,
observability_internal.performance_by_minute, observability_internal.performance_by_hour,
observability_internal.cost_groups, observability_internal.users_by_period, observability_internal.user_counts
to service_role;

grant execute on function observability_internal.histogram_value(double precision) to authenticated, service_role;

grant execute on function observability_internal.merge_histograms(real[], real[]) to authenticated, service_role;

grant execute on function observability_internal.add_to_histogram(real[], real[]) to service_role;

grant execute on function observability_internal.current_user_key() to authenticated, service_role;
