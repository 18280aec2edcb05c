-- Purpose: cost_aggregates takes hours from the hours and longer periods from the days, so that a refresh stays short.
-- Locks: ACCESS EXCLUSIVE on the view, which is made anew.

drop materialized view observability_internal.cost_aggregates;

create materialized view observability_internal.cost_aggregates as
with stale_days as materialized (
  select s.bucket
  from observability_internal.stale_rollups as s
  where s.level = 'day'
),

grouped as materialized (
  select d.dim_id, g.group_id
  from observability_internal.dimensions as d
  inner join observability_internal.cost_groups as g using (provider, model, feature, environment)
),

hours as materialized (
  select
    r.bucket, g.group_id, sum(r.cost) as cost, sum(r.prompt_tokens + r.completion_tokens)::bigint as tokens,
    sum(r.requests)::bigint as requests, coalesce(sum(r.unpriced_requests), 0)::bigint as unpriced_requests
  from observability_internal.usage_by_hour as r
  inner join grouped as g using (dim_id)
  group by r.bucket, g.group_id
),

-- A day that is not condensed is the sum of its hours.
days as materialized (
  select
    r.bucket, g.group_id, sum(r.cost) as cost, sum(r.prompt_tokens + r.completion_tokens)::bigint as tokens,
    sum(r.requests)::bigint as requests, coalesce(sum(r.unpriced_requests), 0)::bigint as unpriced_requests
  from observability_internal.usage_by_day as r
  inner join grouped as g using (dim_id)
  where r.bucket not in (select s.bucket from stale_days as s)
  group by r.bucket, g.group_id
  union all
  select
    date_trunc('day', h.bucket, 'UTC') as bucket, h.group_id, sum(h.cost) as cost, sum(h.tokens)::bigint as tokens,
    sum(h.requests)::bigint as requests, sum(h.unpriced_requests)::bigint as unpriced_requests
  from hours as h
  inner join stale_days as s on h.bucket >= s.bucket and h.bucket < s.bucket + interval '24 hours'
  group by date_trunc('day', h.bucket, 'UTC'), h.group_id
),

periods as (
  select 'hour' as period, h.* from hours as h
  union all
  select 'day' as period, d.* from days as d
  union all
  select
    p.period, date_trunc(p.period, d.bucket, 'UTC') as bucket, d.group_id, sum(d.cost) as cost,
    sum(d.tokens)::bigint as tokens, sum(d.requests)::bigint as requests,
    sum(d.unpriced_requests)::bigint as unpriced_requests
  from days as d
  cross join (values ('week'), ('month')) as p (period)
  group by p.period, date_trunc(p.period, d.bucket, 'UTC'), d.group_id
)

select
  p.period, p.bucket as bucket_start, g.provider, g.model, g.feature, g.environment, p.cost as total_cost,
  p.tokens as total_tokens, p.requests as request_count, p.unpriced_requests as unpriced_request_count,
  coalesce(u.user_count, 0) as user_count
from periods as p
inner join observability_internal.cost_groups as g using (group_id)
left join observability_internal.user_counts as u
  on p.period = u.period and p.bucket = u.bucket_start and p.group_id = u.group_id;

comment on materialized view observability_internal.cost_aggregates is 'Cost, tokens, requests and distinct users by period (hour, day, week, month; UTC), provider, model, feature, environment.';

create unique index cost_aggregates_key
on observability_internal.cost_aggregates (period, bucket_start, provider, model, feature, environment);
